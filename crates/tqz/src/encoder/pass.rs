//! One way to code the network: its layers prepared with one damping, coded at any step constant, and the file they make.

use ndarray::Array2;
use rayon::prelude::*;
use tqz_format::limits::MAX_LEVEL;
use tqz_format::{LayerRecord, TqzFile, Vector};

use crate::allocate::{Hint, Trial, search_step};
use crate::encoder::Job;
use crate::encoder::alternatives::{Alternatives, Way, untransformed};
use crate::encoder::conditioned::unmeasured_sensitivity;
use crate::encoder::gains::with_gains;
use crate::encoder::guess::step_for;
use crate::encoder::layer::CodedLayer;
use crate::encoder::speed::{Limit, Worth, limits as limits_of, part_of_dense};
use crate::encoder::trust::{LayerTrust, Trust};
use crate::error::TqzError;
use crate::export::work_of_layers;
use crate::layout::WeightLayer;
use crate::macs::Work;
use crate::notes::drop_dear_notes;
use crate::repair::SideValues;
use crate::source::Source;

/// Octaves of the step constant after which it is decided again how each layer is coded.
const FAR: f64 = 1.0;
/// Part of the multiply–accumulates asked for that is near enough.
const CLOSE_PART: f64 = 0.97;
/// Searches for them at most.
const ROUNDS: u32 = 3;

/// Prepared layers and what the file holds beside them.
pub(crate) struct Pass<'a> {
    job: Job<'a>,
    prepared: Vec<Alternatives>,
    /// How far the statistics are trusted; the sensitivity to assume where nothing was measured.
    how: (Trust, f64),
    /// What rows are worth and cost, where operations are limited to a part of the dense network's.
    limited: Option<(f64, Vec<Worth>)>,
    file: TqzFile,
    /// What was left out of the graph, for the report.
    shortened: Option<String>,
}

/// Everything coded at one step constant.
pub(crate) struct Coded {
    /// The layers, in the order of the network.
    pub(crate) layers: Vec<CodedLayer>,
    /// The whole file.
    pub(crate) bytes: Vec<u8>,
    /// The step constant.
    pub(crate) step: f64,
    /// The step constant at which it was decided how each layer is coded.
    pub(crate) decided_at: f64,
    /// Encodings made to find it.
    pub(crate) trials: u32,
}

impl<'a> Pass<'a> {
    /// Prepares all layers, their statistics trusted so far.
    ///
    /// # Errors
    /// Statistics of another network, numbers that cannot be factored.
    pub(crate) fn new(job: Job<'a>, trust: &Trust) -> Result<Self, TqzError> {
        let layers = job.source.layers();
        job.progress
            .begin("factoring statistics", layers.len() as u64);
        let unmeasured = unmeasured_sensitivity(job.statistics);
        let prepared = layers
            .par_iter()
            .enumerate()
            .map(|(index, layer)| {
                let how = (trust.of(index), unmeasured);
                let prepared = prepare(job, layer, job.source.matrix(layer)?, how);
                job.progress.advance(1);
                prepared
            })
            .collect::<Result<Vec<_>, _>>()?;
        job.progress.finish();
        let mut file = job.source.file_without_layers();
        let limit = job.config.target.limit(job.source.weight_count());
        let shortened = drop_dear_notes(&mut file, limit)?;
        let limited = match job.config.macs {
            Some(part) => Some((part, worths(job, &prepared)?)),
            None => None,
        };
        Ok(Self {
            job,
            limited,
            how: (trust.clone(), unmeasured),
            prepared,
            file,
            shortened,
        })
    }

    /// One layer with other weights, coded at a step constant.
    ///
    /// # Errors
    /// As [`Self::new`] and coding.
    pub(crate) fn coded_with(
        &self,
        index: usize,
        weights: Array2<f32>,
        step: f64,
    ) -> Result<CodedLayer, TqzError> {
        let job = self.job;
        let how = (self.how.0.of(index), self.how.1);
        let prepared = prepare(job, &job.source.layers()[index], weights, how)?;
        prepared.code(&mut Way::Undecided, job.config.quantizer, (step, None))
    }

    /// A file of these layers, coded at `step` after `like`.
    ///
    /// # Errors
    /// Values that the format cannot hold.
    pub(crate) fn coded_of(
        &self,
        layers: Vec<CodedLayer>,
        like: &Coded,
        step: f64,
    ) -> Result<Coded, TqzError> {
        Ok(Coded {
            bytes: self.bytes(&layers)?,
            layers,
            step,
            decided_at: like.decided_at,
            trials: like.trials + 1,
        })
    }

    /// How far the statistics are trusted.
    pub(crate) fn trust(&self) -> &Trust {
        &self.how.0
    }

    /// The file without its layers.
    pub(crate) fn file(&self) -> &TqzFile {
        &self.file
    }

    /// Puts other side vectors in place of those of the same tensors.
    pub(crate) fn set_vectors(&mut self, vectors: Vec<Vector>) {
        for vector in vectors {
            let old = self.file.vectors.iter_mut().find(|v| v.site == vector.site);
            if let Some(old) = old {
                *old = vector;
            }
        }
    }

    /// Bytes of the side vectors.
    ///
    /// # Errors
    /// Values that the format cannot hold.
    pub(crate) fn side_bytes(&self) -> Result<u64, TqzError> {
        Ok(self.file.section_sizes()?.vector_bytes as u64)
    }

    /// What had to be worked around.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        let of_layers = self.prepared.iter().filter_map(|p| {
            let warning = p.warning()?;
            Some(format!("layer {}: {warning}", p.layer().name))
        });
        of_layers
            .chain(self.shortened.clone())
            .chain(untransformed(&self.prepared, self.job.config))
    }

    /// Whether the file is within the target.
    pub(crate) fn fits(&self, coded: &Coded) -> bool {
        let weights = self.job.source.weight_count();
        let limit = self.job.config.target.limit(weights);
        limit.is_none_or(|limit| coded.bytes.len() as u64 <= limit)
    }

    /// What is coded.
    pub(crate) fn source(&self) -> &'a Source {
        self.job.source
    }

    /// Finds the step constant that meets the target.
    ///
    /// # Errors
    /// A target that cannot be reached.
    pub(crate) fn search(&self, hint: Hint) -> Result<Coded, TqzError> {
        let Some((part, worths)) = &self.limited else {
            return self.search_decided(hint, &vec![None; self.prepared.len()]);
        };
        let (part, mut worths) = (*part, worths.clone());
        let mut hint = hint;
        let mut trials = 0;
        let mut round = 1;
        let mut limits = limits_of(&worths, part)?;
        loop {
            let mut found = self.search_decided(hint, &limits)?;
            trials += found.trials;
            found.trials = trials;
            let records = || found.layers.iter().map(|layer| &layer.record);
            let reached = part_of_dense(&worths, records());
            if reached > CLOSE_PART * part || round == ROUNDS {
                return Ok(found);
            }
            // Rows that leave because of the rate leave work for others.
            for ((worth, record), limit) in worths.iter_mut().zip(records()).zip(&limits) {
                worth.note(record, *limit);
            }
            let next = limits_of(&worths, part)?;
            if next == limits {
                return Ok(found);
            }
            limits = next;
            hint.step = Some(found.step);
            round += 1;
        }
    }

    /// As [`Self::search`], but without keeping bytes free where the target cannot be reached so.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub(crate) fn search_with_room(&self, hint: Hint) -> Result<Coded, TqzError> {
        match self.search(hint) {
            Err(TqzError::Unreachable { .. }) => self.search(Hint {
                reserve_bytes: 0,
                ..hint
            }),
            other => other,
        }
    }

    /// A search in which every layer has a limit of rows.
    fn search_decided(&self, hint: Hint, limits: &[Limit]) -> Result<Coded, TqzError> {
        let hint = Hint {
            step: hint.step.or_else(|| self.guess()),
            ..hint
        };
        let mut found = self.search_once(hint, limits)?;
        if (found.step.log2() - found.decided_at.log2()).abs() > FAR {
            let trials = found.trials;
            let hint = Hint {
                step: Some(found.step),
                ..hint
            };
            found = self.search_once(hint, limits)?;
            found.trials += trials;
        }
        Ok(found)
    }

    /// A step constant to begin with, where a size is asked for.
    fn guess(&self) -> Option<f64> {
        let limit = self
            .job
            .config
            .target
            .limit(self.job.source.weight_count())?;
        let spreads: Vec<_> = self
            .prepared
            .iter()
            .flat_map(Alternatives::spreads)
            .collect();
        Some(step_for(&spreads, 8.0 * limit as f64))
    }

    /// Everything at one step constant.
    ///
    /// # Errors
    /// Values that the format cannot hold; a limit on operations that cannot be met.
    pub(crate) fn at(&self, step: f64) -> Result<Coded, TqzError> {
        let mut ways = vec![Way::Undecided; self.prepared.len()];
        let limits = match &self.limited {
            Some((part, worths)) => limits_of(worths, *part)?,
            None => vec![None; self.prepared.len()],
        };
        let layers = self.code_all((step, &limits), &mut ways)?;
        Ok(Coded {
            bytes: self.bytes(&layers)?,
            layers,
            step,
            decided_at: step,
            trials: 1,
        })
    }

    /// A search in which every layer's way is decided at the first step tried.
    fn search_once(&self, hint: Hint, limits: &[Limit]) -> Result<Coded, TqzError> {
        let mut ways = vec![Way::Undecided; self.prepared.len()];
        let mut decided_at = None;
        let encode = |step: f64| {
            decided_at.get_or_insert(step);
            let layers = self.code_all((step, limits), &mut ways)?;
            let bytes = self.bytes(&layers)?;
            Ok::<_, TqzError>(Trial {
                size_bytes: bytes.len() as u64,
                cut: layers.par_iter().any(|layer| is_cut(&layer.record)),
                outcome: (layers, bytes),
            })
        };
        let target = self.job.config.target;
        let found = search_step(target, self.job.source.weight_count(), hint, encode)?;
        let (layers, bytes) = found.outcome;
        Ok(Coded {
            layers,
            bytes,
            step: found.step,
            decided_at: decided_at.unwrap_or(found.step),
            trials: found.trials,
        })
    }

    /// The file of the same layers with gains and the side vectors there are now.
    ///
    /// # Errors
    /// Values that the format cannot hold.
    pub(crate) fn encode_again(
        &self,
        coded: &Coded,
        gains: &SideValues,
    ) -> Result<Coded, TqzError> {
        let layers = with_gains(self.job.source, &coded.layers, gains)?;
        Ok(Coded {
            bytes: self.bytes(&layers)?,
            layers,
            ..*coded
        })
    }

    fn bytes(&self, layers: &[CodedLayer]) -> Result<Vec<u8>, TqzError> {
        let sections = layers
            .par_iter()
            .map(|layer| layer.record.encode())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.file.encode_with_layers(sections)?)
    }

    /// All layers at one step constant; in parallel, results in order.
    fn code_all(
        &self,
        (step, limits): (f64, &[Limit]),
        ways: &mut [Way],
    ) -> Result<Vec<CodedLayer>, TqzError> {
        let prepared = &self.prepared;
        let progress = self.job.progress;
        let weights: usize = prepared.iter().map(|p| p.layer().weights()).sum();
        progress.begin("quantizing", weights as u64);
        // Largest first, so that no thread is left with a large layer at the end.
        let mut order: Vec<usize> = (0..prepared.len()).collect();
        let work = |i: &usize| prepared[*i].layer().weights() * prepared[*i].layer().rows;
        order.sort_by_key(|i| std::cmp::Reverse(work(i)));
        let given = &*ways;
        let mut coded: Vec<(usize, Way, Result<CodedLayer, TqzError>)> = order
            .par_iter()
            .with_max_len(1)
            .map(|&i| {
                let mut way = given[i];
                let coded =
                    prepared[i].code(&mut way, self.job.config.quantizer, (step, limits[i]));
                progress.advance(prepared[i].layer().weights() as u64);
                (i, way, coded)
            })
            .collect();
        progress.finish();
        coded.sort_by_key(|(i, _, _)| *i);
        coded.iter().for_each(|(i, way, _)| ways[*i] = *way);
        coded.into_iter().map(|(_, _, result)| result).collect()
    }
}

/// A layer with these weights, ready to be coded: its statistics trusted so far, with the sensitivity to assume where nothing was measured.
fn prepare(
    job: Job<'_>,
    layer: &WeightLayer,
    weights: Array2<f32>,
    (trust, unmeasured): (LayerTrust, f64),
) -> Result<Alternatives, TqzError> {
    let asked = (job.config, trust);
    let of_network = (unmeasured, job.source.weight_count());
    Alternatives::new(layer, weights, job.statistics.of(layer)?, asked, of_network)
}

/// What the rows of each layer are worth and cost.
fn worths(job: Job<'_>, prepared: &[Alternatives]) -> Result<Vec<Worth>, TqzError> {
    let works = work_of_layers(job.source.network(), job.source.layers(), job.image)?;
    let worth = |(prepared, work): (&Alternatives, Work)| {
        Worth::new(prepared.layer(), work, prepared.energy())
    };
    Ok(prepared.iter().zip(works).map(worth).collect())
}

/// Whether a record has a level of the largest magnitude that there is.
fn is_cut(record: &LayerRecord) -> bool {
    let mut matrices = record.blocks.iter().flat_map(|b| b.coding.matrices());
    matrices.any(|matrix| {
        let mut levels = matrix.coded_levels().iter();
        levels.any(|level| level.abs() >= MAX_LEVEL - 1)
    })
}
