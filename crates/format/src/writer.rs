//! From records to bytes, and the account of where every byte goes.

use crate::entropy::{ByteModel, Encoder};
use crate::error::{FormatError, check_limit};
use crate::header::{Directory, SectionKind, write_header, write_varint};
use crate::layer_code::{LayerBits, code_layer, count_layer};
use crate::limits::{DecodeLimits, MAX_META_PAIRS, MAX_META_TEXT};
use crate::raw_code::{code_bytes, code_raw};
use crate::record::{LayerRecord, Meta, TqzFile};
use crate::vector_code::code_vectors;

impl TqzFile {
    /// Writes the file.
    ///
    /// # Errors
    /// If a record contradicts itself or breaks a limit of the format.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let layers: Result<Vec<_>, _> = self.layers.iter().map(LayerRecord::encode).collect();
        self.encode_with_layers(layers?)
    }

    /// Writes the file around layers that [`LayerRecord::encode`] has already coded (on several threads, say);
    /// `self.layers` is not looked at.
    ///
    /// # Errors
    /// If a record contradicts itself or breaks a limit of the format.
    pub fn encode_with_layers(&self, layers: Vec<Vec<u8>>) -> Result<Vec<u8>, FormatError> {
        let mut sections = vec![(SectionKind::Meta, encode_meta(&self.meta)?)];
        if !self.graph.is_empty() {
            sections.push((SectionKind::Graph, encode_graph(&self.graph)?));
        }
        if !self.vectors.is_empty() {
            self.vectors
                .iter()
                .try_for_each(|vector| vector.validate())?;
            let mut encoder = Encoder::new();
            code_vectors(&mut encoder, &self.vectors, &DecodeLimits::UNLIMITED)?;
            sections.push((SectionKind::Vectors, encoder.finish()));
        }
        if !self.raw.is_empty() {
            self.check_raw()?;
            let mut encoder = Encoder::new();
            code_raw(&mut encoder, &self.raw, &DecodeLimits::UNLIMITED)?;
            sections.push((SectionKind::Raw, encoder.finish()));
        }
        sections.extend(layers.into_iter().map(|bytes| (SectionKind::Layer, bytes)));
        let mut file = write_header(&sections)?;
        for (_, bytes) in &sections {
            file.extend_from_slice(bytes);
        }
        Ok(file)
    }

    fn check_raw(&self) -> Result<(), FormatError> {
        match self
            .raw
            .iter()
            .find(|raw| ![1, 2, 4, 8].contains(&raw.width))
        {
            Some(raw) => Err(FormatError::Invalid {
                what: "width of raw elements",
                found: raw.width.into(),
                legal: "1, 2, 4 or 8 bytes",
            }),
            None => Ok(()),
        }
    }

    /// Where every byte of the encoded file goes.
    ///
    /// # Errors
    /// As [`TqzFile::encode`].
    pub fn section_sizes(&self) -> Result<SizeReport, FormatError> {
        let file = self.encode()?;
        let directory = Directory::read(&file)?;
        let size = |kind| {
            directory
                .of_kind(kind)
                .map(|(_, section)| section.range.len())
                .sum()
        };
        let layers = directory.of_kind(SectionKind::Layer).zip(&self.layers);
        let layers: Result<Vec<_>, FormatError> = layers
            .map(|((_, section), layer)| {
                let bits = count_layer(layer)?;
                Ok(LayerSize {
                    site: layer.site,
                    bytes: section.range.len(),
                    bits,
                })
            })
            .collect();
        Ok(SizeReport {
            file_bytes: file.len(),
            header_bytes: directory.header_bytes(file.len()),
            meta_bytes: size(SectionKind::Meta),
            graph_bytes: size(SectionKind::Graph),
            vector_bytes: size(SectionKind::Vectors),
            raw_bytes: size(SectionKind::Raw),
            layers: layers?,
        })
    }
}

impl LayerRecord {
    /// The bytes of this layer's section.
    ///
    /// # Errors
    /// If the record contradicts itself or breaks a limit of the format.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.validate()?;
        let mut encoder = Encoder::new();
        code_layer(&mut encoder, Some(self), &DecodeLimits::UNLIMITED)?;
        Ok(encoder.finish())
    }
}

/// Where every byte of a file goes.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeReport {
    /// The whole file.
    pub file_bytes: usize,
    /// Signature, version, directory, checksums.
    pub header_bytes: usize,
    /// META.
    pub meta_bytes: usize,
    /// GRAPH.
    pub graph_bytes: usize,
    /// VECTORS.
    pub vector_bytes: usize,
    /// RAW.
    pub raw_bytes: usize,
    /// Every LAYER.
    pub layers: Vec<LayerSize>,
}

/// Size of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSize {
    /// Which tensor of the graph it is.
    pub site: u32,
    /// Bytes of the section.
    pub bytes: usize,
    /// What its bits are spent on.
    pub bits: LayerBits,
}

fn encode_meta(meta: &Meta) -> Result<Vec<u8>, FormatError> {
    check_limit(
        "number of META pairs",
        meta.pairs.len() as u64,
        MAX_META_PAIRS,
    )?;
    let mut bytes = Vec::new();
    check_limit("number of weights", meta.weights, (1 << 63) - 1)?;
    write_varint(&mut bytes, meta.weights);
    write_varint(&mut bytes, meta.pairs.len() as u64);
    for text in meta.pairs.iter().flat_map(|(key, value)| [key, value]) {
        check_limit("length of a META text", text.len() as u64, MAX_META_TEXT)?;
        write_varint(&mut bytes, text.len() as u64);
        bytes.extend_from_slice(text.as_bytes());
    }
    Ok(bytes)
}

fn encode_graph(graph: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    write_varint(&mut bytes, graph.len() as u64);
    let mut encoder = Encoder::new();
    code_bytes(
        &mut encoder,
        &mut ByteModel::for_graph(graph.len()),
        Some(graph),
        graph.len(),
    )?;
    bytes.extend_from_slice(&encoder.finish());
    Ok(bytes)
}
