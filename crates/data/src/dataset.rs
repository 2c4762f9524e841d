//! An opened image set: samples on demand, or batches in order with decoding in parallel.

use crate::card::{Card, SourceCard, SourceKind};
use crate::codec;
use crate::error::DataError;
use crate::files::{self, Files};
use crate::geometry::Geometry;
use crate::listing::{self, Item, Listing};
use crate::noise::NoiseTrack;
use crate::npz::Npz;
use crate::picture::Picture;
use crate::random::shuffled_prefix;
use crate::task::{Sample, Task, Truth, denoise_sample, super_resolve_sample};
use ndarray::{Array4, Axis};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Cursor};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a caller may say about a card's set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Takes the place of the card's `source.path`; relative to the current folder.
    pub source: Option<PathBuf>,
    /// Takes the place of the card's `source.images`.
    pub images: Option<usize>,
    /// Seed of the shuffle by which some images of class folders are taken.
    pub seed: u64,
}

/// An image set, ready to be read. Nothing is decoded until it is asked for.
#[derive(Debug)]
pub struct DataSet {
    card: Card,
    path: PathBuf,
    source: Source,
    /// Indices into the source, in the set's order.
    order: Vec<usize>,
    noise: Option<NoiseTrack>,
}

#[derive(Debug)]
enum Source {
    Npz(Npz),
    Files { files: Files, items: Vec<Item> },
}

impl Source {
    fn len(&self) -> usize {
        match self {
            Self::Npz(npz) => npz.len,
            Self::Files { items, .. } => items.len(),
        }
    }
}

impl DataSet {
    /// Opens the set of a card. The card's path is relative to `base_dir`, the card's folder.
    ///
    /// # Errors
    /// Any [`DataError`] about the source or its table of labels. Pictures are not looked at yet.
    pub fn open(card: &Card, base_dir: &Path, options: &OpenOptions) -> Result<Self, DataError> {
        let path = match &options.source {
            Some(path) => path.clone(),
            None => base_dir.join(&card.source.path),
        };
        let named_npz = files::has_ending(&path.to_string_lossy(), "npz");
        let mut kind = card.source.kind;
        if options.source.is_some() && (kind == SourceKind::Npz) != named_npz {
            // Another source than the card's need not be organised alike.
            kind = SourceKind::Auto;
        }
        if named_npz {
            files::check_regular(&path)?;
            let file = File::open(&path).map_err(|e| DataError::io(&path, e))?;
            let source = Source::Npz(Npz::read(BufReader::new(file), &path)?);
            return Self::select(card, path, (source, false), options);
        }
        let mut files = Files::open(&path)?;
        match listing::list(&files, &card.source, kind)? {
            Listing::Npz(name) => {
                files.prepare(&[name.clone()].into())?;
                let npz = {
                    let bytes = files.read(&name, files::MAX_NPZ_BYTES)?;
                    Npz::read(Cursor::new(bytes.as_ref()), &path.join(&name))?
                };
                Self::select(card, path, (Source::Npz(npz), false), options)
            }
            Listing::Items { items, by_class } => {
                let source = Source::Files { files, items };
                Self::select(card, path, (source, by_class), options)
            }
        }
    }

    /// Reads the card and opens its set; the same as [`Card::read`] and [`DataSet::open`].
    ///
    /// # Errors
    /// Those of both.
    pub fn open_card(card: &Path, options: &OpenOptions) -> Result<Self, DataError> {
        let base = card.parent().unwrap_or(Path::new(""));
        Self::open(&Card::read(card)?, base, options)
    }

    /// The set in a `.npz` file's bytes, for images that a program carries in itself; `name` is for
    /// messages.
    ///
    /// # Errors
    /// [`DataError::Card`] for a card that is not valid, else what is wrong with the arrays.
    pub fn from_npz(
        card: &Card,
        name: &str,
        bytes: &[u8],
        options: &OpenOptions,
    ) -> Result<Self, DataError> {
        let path = PathBuf::from(name);
        let source = Source::Npz(Npz::read(Cursor::new(bytes), &path)?);
        Self::select(card, path, (source, false), options)
    }

    fn select(
        card: &Card,
        path: PathBuf,
        (mut source, by_class): (Source, bool),
        options: &OpenOptions,
    ) -> Result<Self, DataError> {
        // A card may have been built by hand.
        card.check().map_err(|reason| DataError::Card {
            path: path.clone(),
            reason,
        })?;
        let order = order(source.len(), &card.source, by_class, options);
        if order.is_empty() {
            return Err(DataError::source(
                &path,
                format!("none of its {} images is taken", source.len()),
            ));
        }
        if let Source::Files { files, items } = &mut source {
            let taken: Vec<Item> = order.iter().map(|&i| items[i].clone()).collect();
            files.prepare(&listing::names(&taken))?;
        }
        let noise = match card.task {
            Task::Denoise { seed, .. } => Some(NoiseTrack::new(seed)),
            _ => None,
        };
        Ok(Self {
            card: card.clone(),
            path,
            source,
            order,
            noise,
        })
    }

    /// Number of samples, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "an empty set cannot be opened")]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The task.
    pub fn task(&self) -> &Task {
        &self.card.task
    }

    /// Where the set lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether every sample has something to compare a network's answer with.
    pub fn has_truth(&self) -> bool {
        !matches!(self.card.task, Task::Classify)
            || self.order.iter().all(|&i| self.label(i).is_some())
    }

    /// What sample `index` of 0..len is called in messages: the picture's name, or its place among the arrays of a `.npz`.
    ///
    /// # Errors
    /// [`DataError::Index`] beyond the end.
    pub fn name(&self, index: usize) -> Result<String, DataError> {
        Ok(self.name_at(self.at(index)?))
    }

    fn name_at(&self, at: usize) -> String {
        match &self.source {
            Source::Npz(_) => format!("{at} (from 0)"),
            Source::Files { items, .. } => items[at].name.clone(),
        }
    }

    fn label(&self, at: usize) -> Option<usize> {
        match &self.source {
            Source::Npz(npz) => npz.labels.as_ref().map(|labels| labels[at]),
            Source::Files { items, .. } => items[at].label,
        }
    }

    /// Sample `index` of 0..len.
    ///
    /// # Errors
    /// [`DataError::Index`] beyond the end; [`DataError::Image`] when the picture (for denoising also
    /// the header of one before it) cannot be read, decoded or brought to the size asked for.
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let at = self.at(index)?;
        let (picture, geometry) = self.picture(index, at)?;
        let preprocess = &self.card.preprocess;
        let picture = preprocess.shape(picture, &geometry);
        match self.card.task {
            Task::Classify => Ok(Sample {
                input: preprocess.tensor(&picture),
                truth: self.label(at).map_or(Truth::None, Truth::Label),
            }),
            Task::Denoise { sigma, seed, .. } => {
                let noise = match &self.noise {
                    Some(track) => track.at(index, |i| self.sample_values(i))?,
                    None => NoiseTrack::new(seed).at(index, |i| self.sample_values(i))?,
                };
                Ok(denoise_sample(&picture, preprocess, sigma, noise))
            }
            Task::SuperResolve { scale, input, .. } => super_resolve_sample(&picture, scale, input)
                .map_err(|reason| self.image_error(at, reason)),
        }
    }

    fn at(&self, index: usize) -> Result<usize, DataError> {
        self.order.get(index).copied().ok_or(DataError::Index {
            index,
            len: self.order.len(),
        })
    }

    /// The decoded picture and its way.
    fn picture(&self, index: usize, at: usize) -> Result<(Picture, Geometry), DataError> {
        let picture = match &self.source {
            Source::Npz(npz) => npz.picture(at),
            Source::Files { files, items } => {
                let bytes = files.read(&items[at].name, files::MAX_FILE_BYTES)?;
                codec::decode(&bytes).map_err(|reason| self.image_error(at, reason))?
            }
        };
        let size = (picture.width, picture.height);
        Ok((picture, self.geometry(index, at, size)?))
    }

    fn geometry(
        &self,
        index: usize,
        at: usize,
        size: (usize, usize),
    ) -> Result<Geometry, DataError> {
        self.card
            .preprocess
            .geometry(size, index)
            .map_err(|reason| self.image_error(at, reason))
    }

    /// Number of values of a sample's input, from the picture's header alone.
    fn sample_values(&self, index: usize) -> Result<usize, DataError> {
        let at = self.at(index)?;
        let size = match &self.source {
            Source::Npz(npz) => (npz.width, npz.height),
            Source::Files { files, items } => {
                let bytes = files.read(&items[at].name, files::MAX_FILE_BYTES)?;
                codec::size(&bytes).map_err(|reason| self.image_error(at, reason))?
            }
        };
        let (width, height) = self.geometry(index, at, size)?.output();
        Ok(width * height * self.card.preprocess.channel_count())
    }

    fn image_error(&self, at: usize, reason: String) -> DataError {
        DataError::image(&self.path, &self.name_at(at), reason)
    }

    /// All samples in order, in batches of up to `size` (at least 1) whose inputs have one shape:
    /// neighbours of different shapes go to different batches. A batch's pictures are decoded in
    /// parallel; the result does not depend on the number of threads. After an error nothing more
    /// comes.
    pub fn batches(&self, size: usize) -> Batches<'_> {
        self.batches_of(0..self.len(), size)
    }

    /// As [`Self::batches`], for the samples of a range alone (cut at the set's end).
    pub fn batches_of(&self, range: Range<usize>, size: usize) -> Batches<'_> {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        Batches {
            set: self,
            size: size.max(1),
            first: start,
            loaded: start,
            end,
            queue: VecDeque::new(),
        }
    }
}

/// The source's indices that make up the set.
fn order(len: usize, card: &SourceCard, by_class: bool, options: &OpenOptions) -> Vec<usize> {
    let rows: Vec<usize> = (card.rows.start.min(len)..len)
        .step_by(card.rows.step)
        .collect();
    match options.images.or(card.images) {
        None => rows,
        Some(images) if by_class => shuffled_prefix(rows.len(), images, options.seed)
            .into_iter()
            .map(|i| rows[i])
            .collect(),
        Some(images) => rows.into_iter().take(images).collect(),
    }
}

/// Samples of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Index of the first sample in the set.
    pub first: usize,
    /// `[N, C, H, W]`, or `[N, H, W, C]` if the card's layout is `nhwc`.
    pub input: Array4<f32>,
    /// What is right, for each sample.
    pub truths: Vec<Truth>,
}

/// Iterator of [`DataSet::batches`].
#[derive(Debug)]
pub struct Batches<'a> {
    set: &'a DataSet,
    size: usize,
    first: usize,
    loaded: usize,
    end: usize,
    queue: VecDeque<Sample>,
}

impl Batches<'_> {
    fn load(&mut self) -> Result<(), DataError> {
        while self.queue.len() < self.size && self.loaded < self.end {
            let end = self.end.min(self.loaded + self.size - self.queue.len());
            let set = self.set;
            let samples: Vec<Result<Sample, DataError>> = (self.loaded..end)
                .into_par_iter()
                .map(|index| set.sample(index))
                .collect();
            // The first error in the set's order is the one reported.
            for sample in samples {
                self.queue.push_back(sample?);
            }
            self.loaded = end;
        }
        Ok(())
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = self.load() {
            self.loaded = self.end;
            self.queue.clear();
            return Some(Err(error));
        }
        let shape = self.queue.front()?.input.dim();
        let count = self
            .queue
            .iter()
            .take(self.size)
            .take_while(|sample| sample.input.dim() == shape)
            .count();
        let mut input = Array4::zeros((count, shape.0, shape.1, shape.2));
        let mut truths = Vec::with_capacity(count);
        for (mut place, sample) in input.axis_iter_mut(Axis(0)).zip(self.queue.drain(..count)) {
            place.assign(&sample.input);
            truths.push(sample.truth);
        }
        let first = self.first;
        self.first += count;
        Some(Ok(Batch {
            first,
            input,
            truths,
        }))
    }
}
