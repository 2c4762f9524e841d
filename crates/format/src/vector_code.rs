//! The VECTORS and RAW sections: side tensors in one stream each, statistics shared.

use crate::entropy::{AdaptiveBit, BitIo, ByteModel, Counter, UintModel, code_flag, code_sint};
use crate::error::{FormatError, check_limit};
use crate::limits::{DecodeLimits, MAX_SITE, MAX_TENSORS, MAX_VECTOR_EXPONENT};
use crate::record::{RawTensor, Vector};

const CHECK_EVERY: usize = 1024;
/// Bytes that the model of raw tensors is made for.
const RAW_EXPECTED: usize = 1 << 13;
/// Magnitude classes: 0 and one an octave up to 2^25.
const CLASSES: usize = 28;

#[derive(Clone)]
struct VectorModel {
    header: UintModel,
    zero: Vec<AdaptiveBit>,
    sign: [AdaptiveBit; 3],
    magnitude: Vec<UintModel>,
}

impl VectorModel {
    fn new() -> Self {
        Self {
            header: UintModel::default(),
            zero: vec![AdaptiveBit::default(); CLASSES],
            sign: [AdaptiveBit::default(); 3],
            magnitude: vec![UintModel::default(); CLASSES],
        }
    }

    /// Codes one difference; `class` says how large the last ones were.
    fn difference<IO: BitIo>(&mut self, io: &mut IO, running: &mut Running, value: i64) -> i64 {
        let class = running.class();
        let coded = if self.zero[class].code(io, value != 0) {
            let negative = self.sign[running.sign].code(io, value < 0);
            let magnitude =
                self.magnitude[class].code(io, value.unsigned_abs().saturating_sub(1)) as i64 + 1;
            running.sign = if negative { 2 } else { 1 };
            if negative { -magnitude } else { magnitude }
        } else {
            0
        };
        running.learn(coded);
        coded
    }
}

/// Running magnitude (4 fraction bits) and last sign inside one vector.
struct Running {
    mean: u64,
    sign: usize,
}

impl Running {
    fn class(&self) -> usize {
        (64 - self.mean.leading_zeros() as usize).min(CLASSES - 1)
    }
    fn learn(&mut self, value: i64) {
        self.mean = (3 * self.mean + 16 * value.unsigned_abs().min(1 << 26) + 2) / 4;
    }
}

/// Codes all side vectors.
pub(crate) fn code_vectors<IO: BitIo>(
    io: &mut IO,
    given: &[Vector],
    limits: &DecodeLimits,
) -> Result<Vec<Vector>, FormatError> {
    let mut model = VectorModel::new();
    let count = model
        .header
        .code_limited(io, "number of vectors", given.len() as u64, MAX_TENSORS)?;
    let mut vectors = Vec::new();
    let (mut site, mut log2_step, mut length) = (-1i64, 0i64, 0i64);
    let mut elements_left = limits.vector_elements;
    for i in 0..count as usize {
        let vector = given.get(i);
        let goal = vector.map_or(0, |v| i64::from(v.site));
        site += code_sint(&mut model.header, io, goal - site - 1) + 1;
        check_limit("site", u64::try_from(site).unwrap_or(u64::MAX), MAX_SITE)?;
        let goal = vector.map_or(0, |v| i64::from(v.log2_step));
        log2_step += code_sint(&mut model.header, io, goal - log2_step);
        if log2_step.abs() > i64::from(MAX_VECTOR_EXPONENT) {
            let legal = "-160 to 160";
            return Err(FormatError::Invalid {
                what: "step exponent of a vector",
                found: log2_step,
                legal,
            });
        }
        let goal = vector.map_or(0, |v| v.levels.len() as i64);
        length += code_sint(&mut model.header, io, goal - length);
        let size = u64::try_from(length).unwrap_or(u64::MAX);
        check_limit("elements of all vectors", size, elements_left)?;
        elements_left -= size;
        let levels = code_levels(
            io,
            &mut model,
            vector.map(|v| &v.levels[..]),
            length as usize,
        )?;
        io.check("the vectors")?;
        if IO::DECODES {
            let vector = Vector {
                site: site as u32,
                log2_step: log2_step as i32,
                levels,
            };
            vector.validate()?;
            vectors.push(vector);
        }
    }
    Ok(vectors)
}

fn code_levels<IO: BitIo>(
    io: &mut IO,
    model: &mut VectorModel,
    given: Option<&[i32]>,
    length: usize,
) -> Result<Vec<i32>, FormatError> {
    let centred = given.is_some_and(|levels| {
        let cost = |centred| {
            let mut counter = Counter::new();
            let mut trial = model.clone();
            for_levels(&mut counter, &mut trial, Some(levels), (length, centred))
                .map(|_| counter.cost())
        };
        matches!((cost(true), cost(false)), (Ok(with), Ok(without)) if with < without)
    });
    let centred = code_flag(io, centred);
    for_levels(io, model, given, (length, centred))
}

fn for_levels<IO: BitIo>(
    io: &mut IO,
    model: &mut VectorModel,
    given: Option<&[i32]>,
    (length, centred): (usize, bool),
) -> Result<Vec<i32>, FormatError> {
    let mut levels = Vec::new();
    let mut running = Running {
        mean: 1 << 10,
        sign: 0,
    };
    // Running centre with 3 fraction bits.
    let mut centre = 0i64;
    for i in 0..length {
        let expected = if centred { (centre + 4) >> 3 } else { 0 };
        let goal = given.map_or(0, |g| i64::from(g[i]));
        let level = expected + model.difference(io, &mut running, goal - expected);
        let level = level.clamp(i32::MIN.into(), i32::MAX.into());
        centre = if i == 0 {
            level * 8
        } else {
            centre + ((level * 8 - centre) >> 3)
        };
        if IO::DECODES {
            levels.push(level as i32);
        }
        if i % CHECK_EVERY == 0 {
            io.check("the vectors")?;
        }
    }
    Ok(levels)
}

/// Codes all raw tensors.
pub(crate) fn code_raw<IO: BitIo>(
    io: &mut IO,
    given: &[RawTensor],
    limits: &DecodeLimits,
) -> Result<Vec<RawTensor>, FormatError> {
    let mut header = UintModel::default();
    let count = header.code_limited(io, "number of raw tensors", given.len() as u64, MAX_TENSORS)?;
    let mut tensors = Vec::new();
    let mut model = ByteModel::new(RAW_EXPECTED);
    let mut site = -1i64;
    let mut bytes_left = limits.raw_bytes;
    for i in 0..count as usize {
        let tensor = given.get(i);
        let goal = tensor.map_or(0, |t| i64::from(t.site));
        site += code_sint(&mut header, io, goal - site - 1) + 1;
        check_limit("site", u64::try_from(site).unwrap_or(u64::MAX), MAX_SITE)?;
        let width = tensor.map_or(0, |t| u64::from(t.width.max(1).ilog2()));
        let width = 1u8 << header.code_limited(io, "width of raw elements", width, 3)?;
        let size = tensor.map_or(0, |t| t.bytes.len() as u64);
        let size = header.code_limited(io, "bytes of all raw tensors", size, bytes_left)?;
        bytes_left -= size;
        model.set_width(width);
        let bytes = code_bytes(io, &mut model, tensor.map(|t| &t.bytes[..]), size as usize)?;
        if IO::DECODES {
            tensors.push(RawTensor {
                site: site as u32,
                width,
                bytes,
            });
        }
    }
    io.check("the raw tensors")?;
    Ok(tensors)
}

/// Codes `length` bytes.
pub(crate) fn code_bytes<IO: BitIo>(
    io: &mut IO,
    model: &mut ByteModel,
    given: Option<&[u8]>,
    length: usize,
) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    for i in 0..length {
        let byte = model.code(io, given.map_or(0, |g| g[i]));
        if IO::DECODES {
            bytes.push(byte);
        }
        if i % CHECK_EVERY == 0 {
            io.check("the bytes")?;
        }
    }
    Ok(bytes)
}
