//! From bytes to records: the whole file, or one layer alone.

use crate::entropy::{ByteModel, Decoder};
use crate::error::FormatError;
use crate::header::{Cursor, Directory, SectionEntry, SectionKind};
use crate::layer_code::code_layer;
use crate::limits::{DecodeLimits, MAX_META_PAIRS, MAX_META_TEXT};
use crate::raw_code::{code_bytes, code_raw};
use crate::record::{LayerRecord, Meta, TqzFile};
use crate::vector_code::code_vectors;

impl TqzFile {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Says what is wrong and in which section.
    pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Self, FormatError> {
        let directory = Directory::read(bytes)?;
        directory.verify(bytes)?;
        let mut file = Self::decode_without_layers(bytes, &directory, limits)?;
        for index in 0..directory.layers() {
            file.layers
                .push(directory.read_layer(bytes, index, limits)?);
        }
        Ok(file)
    }

    /// Reads everything but the layers, which [`Directory::read_layer`] reads one by one, in any order and on
    /// any thread.
    ///
    /// # Errors
    /// Says what is wrong and in which section.
    pub fn decode_without_layers(
        bytes: &[u8],
        directory: &Directory,
        limits: &DecodeLimits,
    ) -> Result<Self, FormatError> {
        let mut file = Self::default();
        for (index, section) in directory.sections.iter().enumerate() {
            if section.kind != SectionKind::Layer {
                let read = file.read_section(bytes, section, limits);
                read.map_err(|error| error.in_section(index, section.kind.name()))?;
            }
        }
        Ok(file)
    }

    fn read_section(
        &mut self,
        bytes: &[u8],
        section: &SectionEntry,
        limits: &DecodeLimits,
    ) -> Result<(), FormatError> {
        let bytes = section.open(bytes)?;
        match section.kind {
            SectionKind::Meta => self.meta = decode_meta(bytes)?,
            SectionKind::Graph => self.graph = decode_graph(bytes, limits)?,
            SectionKind::Vectors => {
                let mut decoder = Decoder::new(bytes);
                self.vectors = code_vectors(&mut decoder, &[], limits)?;
                decoder.finish("the vectors")?;
            }
            SectionKind::Raw => {
                let mut decoder = Decoder::new(bytes);
                self.raw = code_raw(&mut decoder, &[], limits)?;
                decoder.finish("the raw tensors")?;
            }
            SectionKind::Layer => self.layers.push(LayerRecord::decode(bytes, limits)?),
        }
        Ok(())
    }
}

impl Directory {
    /// Checks every section's checksum.
    ///
    /// # Errors
    /// Names the first section whose checksum differs.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), FormatError> {
        for (index, section) in self.sections.iter().enumerate() {
            section
                .open(bytes)
                .map_err(|error| error.in_section(index, section.kind.name()))?;
        }
        Ok(())
    }

    /// Reads layer `index` (counted from 0 among the layers) of the file `bytes`, touching no other section.
    ///
    /// # Errors
    /// Says what is wrong with the section, or that there is no such layer.
    pub fn read_layer(
        &self,
        bytes: &[u8],
        index: usize,
        limits: &DecodeLimits,
    ) -> Result<LayerRecord, FormatError> {
        let Some((place, section)) = self.of_kind(SectionKind::Layer).nth(index) else {
            let limit = self.layers() as u64;
            return Err(FormatError::Limit {
                what: "index of a layer",
                found: index as u64,
                limit,
            });
        };
        let read = section
            .open(bytes)
            .and_then(|bytes| LayerRecord::decode(bytes, limits));
        read.map_err(|error| error.in_section(place, section.kind.name()))
    }
}

impl LayerRecord {
    /// Reads a layer from the bytes of its section.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Self, FormatError> {
        let mut decoder = Decoder::new(bytes);
        let layer = code_layer(&mut decoder, None, limits)?;
        decoder.finish("a layer")?;
        let layer = layer.ok_or(FormatError::Truncated { what: "a layer" })?;
        layer.validate()?;
        Ok(layer)
    }
}

fn decode_meta(bytes: &[u8]) -> Result<Meta, FormatError> {
    const WHAT: &str = "META";
    let mut cursor = Cursor::new(bytes, WHAT);
    let weights = cursor.varint("number of weights", u64::MAX)?;
    let count = cursor.varint("number of META pairs", MAX_META_PAIRS)?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push((text(&mut cursor)?, text(&mut cursor)?));
    }
    match cursor.rest() {
        0 => Ok(Meta { weights, pairs }),
        left => Err(FormatError::Trailing {
            what: WHAT,
            bytes: left as u64,
        }),
    }
}

fn text(cursor: &mut Cursor<'_>) -> Result<String, FormatError> {
    let length = cursor.varint("length of a META text", MAX_META_TEXT)?;
    let bytes = cursor.take(length as usize)?.to_vec();
    String::from_utf8(bytes).map_err(|_| FormatError::Text {
        what: "a META text",
    })
}

fn decode_graph(bytes: &[u8], limits: &DecodeLimits) -> Result<Vec<u8>, FormatError> {
    let mut cursor = Cursor::new(bytes, "GRAPH");
    let length = cursor.varint("bytes of the graph", limits.graph_bytes)?;
    let mut decoder = Decoder::new(&bytes[cursor.position..]);
    let graph = code_bytes(
        &mut decoder,
        &mut ByteModel::for_graph(length as usize),
        None,
        length as usize,
    )?;
    decoder.finish("the graph")?;
    Ok(graph)
}
