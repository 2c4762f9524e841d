//! The VECTORS section: side vectors in one stream, statistics shared. A level is coded as its difference
//! from the vector's running mean, in units of the running size of such differences, so that all vectors
//! teach the same few probabilities.

use crate::entropy::{AdaptiveBit, BitIo, Counter, UintModel, code_flag, code_plain, code_sint};
use crate::error::{FormatError, check_limit};
use crate::limits::{DecodeLimits, MAX_SITE, MAX_TENSORS, MAX_VECTOR_EXPONENT};
use crate::record::Vector;

/// How many levels are decoded between two looks at the end of the stream.
const CHECK_EVERY: usize = 1024;
/// How far back a vector may look for one that is like it.
const REFERENCES: usize = 8;
/// Fraction bits of means and sizes.
const FRACTION: u32 = 8;
/// Size classes below the first low bit, then the fractions of an octave.
const CLASSES: usize = 12;
/// Unary decisions before the escape code.
const UNARY: usize = 20;
/// First probability, by class, that the unary part goes on, in 1/65536: about m/(1 + m) of the class' size m.
const FIRST_GOES_ON: [u32; CLASSES] = [
    16_000, 20_000, 25_000, 30_000, 36_000, 41_000, 46_000, 50_000, 47_000, 49_000, 50_500, 52_000,
];
/// Slowest rate of the running values is 1 in this many levels.
const SLOWEST: i64 = 48;
/// A reference's mean and size count as this many levels.
const TRUST: i64 = 3;
/// Bound of coded differences; far above what two levels can differ by.
const MAX_DIFFERENCE: i64 = 1 << 30;

/// Running mean and size of one vector, 8 fraction bits.
#[derive(Debug, Clone, Copy)]
struct Running {
    mean: i64,
    size: i64,
    levels: i64,
}

impl Running {
    /// What a vector without reference starts from: mean 0, size 128.
    const FIRST: Self = Self {
        mean: 0,
        size: 128 << FRACTION,
        levels: 0,
    };

    fn learn(&mut self, level: i64, difference: i64) {
        let rate = (self.levels + 2).min(SLOWEST);
        self.mean += ((level << FRACTION) - self.mean).div_euclid(rate);
        self.size += ((difference.abs() << FRACTION) - self.size).div_euclid(rate);
        self.levels += 1;
    }

    /// Number of low bits, and class for the unary part.
    fn class(&self) -> (u32, usize) {
        // Sizes in 1/16 level, log2 with two fraction bits from 1/16 on.
        let size = (self.size >> (FRACTION - 4)).clamp(4, 1 << 30) as u32;
        let octave = size.ilog2();
        let quarter = ((size >> (octave - 2)) & 3) as usize;
        // Below 4 levels no low bits; classes 0 to 7, one for half an octave from 1/4 level on.
        match octave.checked_sub(6) {
            None => (0, (octave as usize - 2) * 2 + quarter / 2),
            Some(shift) => (shift + 1, 8 + quarter),
        }
    }
}

#[derive(Debug, Clone)]
struct VectorModel {
    site: UintModel,
    step: UintModel,
    length: UintModel,
    reference: UintModel,
    unary: Vec<[AdaptiveBit; UNARY]>,
    low: Vec<[AdaptiveBit; UNARY + 1]>,
    sign: [AdaptiveBit; 3],
    escape: UintModel,
}

impl VectorModel {
    fn new() -> Self {
        Self {
            site: UintModel::default(),
            step: UintModel::default(),
            length: UintModel::default(),
            reference: UintModel::default(),
            unary: FIRST_GOES_ON
                .map(|p16| [AdaptiveBit::starting(p16, 4); UNARY])
                .to_vec(),
            low: vec![[AdaptiveBit::default(); UNARY + 1]; CLASSES],
            sign: [AdaptiveBit::default(); 3],
            escape: UintModel::default(),
        }
    }

    /// Codes a difference: high part of the magnitude in unary, low bits, sign.
    fn difference<IO: BitIo>(
        &mut self,
        io: &mut IO,
        (shift, class): (u32, usize),
        last_sign: &mut usize,
        value: i64,
    ) -> i64 {
        let magnitude = value.unsigned_abs();
        let high = magnitude >> shift;
        let mut index = 0;
        while index < UNARY && self.unary[class][index].code(io, high > index as u64) {
            index += 1;
        }
        let mut coded = index as u64;
        if index == UNARY {
            coded += self.escape.code(io, high.saturating_sub(UNARY as u64));
        }
        if shift > 0 {
            let first = self.low[class][index].code(io, (magnitude >> (shift - 1)) & 1 == 1);
            coded = coded << 1 | u64::from(first);
            coded = coded << (shift - 1) | code_plain(io, magnitude, shift - 1);
        }
        if coded == 0 {
            return 0;
        }
        let negative = self.sign[*last_sign].code(io, value < 0);
        *last_sign = if negative { 2 } else { 1 };
        let coded = (coded as i64).min(MAX_DIFFERENCE);
        if negative { -coded } else { coded }
    }

    /// Codes the levels of one vector; `levels` is ignored when decoding.
    fn levels<IO: BitIo>(
        &mut self,
        io: &mut IO,
        running: &mut Running,
        centred: bool,
        (given, length): (&[i32], usize),
    ) -> Result<Vec<i32>, FormatError> {
        let mut levels = Vec::new();
        let mut last_sign = 0;
        for i in 0..length {
            let expected = if centred {
                (running.mean + (1 << (FRACTION - 1))) >> FRACTION
            } else {
                0
            };
            let goal = given.get(i).map_or(0, |&level| i64::from(level));
            let difference = self.difference(io, running.class(), &mut last_sign, goal - expected);
            let level = expected + difference;
            running.learn(level, difference);
            if IO::DECODES {
                levels.push(level.clamp(i32::MIN.into(), i32::MAX.into()) as i32);
            }
            if i % CHECK_EVERY == 0 {
                io.check("the vectors")?;
            }
        }
        Ok(levels)
    }
}

/// Codes all side vectors.
pub(crate) fn code_vectors<IO: BitIo>(
    io: &mut IO,
    given: &[Vector],
    limits: &DecodeLimits,
) -> Result<Vec<Vector>, FormatError> {
    let mut model = VectorModel::new();
    let count = given.len() as u64;
    let count = model
        .length
        .code_limited(io, "number of vectors", count, MAX_TENSORS)?;
    let (mut vectors, mut past) = (Vec::new(), Vec::new());
    let mut last = Vector {
        site: u32::MAX,
        log2_step: 0,
        levels: Vec::new(),
    };
    let mut last_length = 0;
    let mut elements_left = limits.vector_elements;
    for i in 0..count as usize {
        let vector = given.get(i);
        let (site, log2_step) = code_head(io, &mut model, &last, vector)?;
        let goal = vector.map_or(0, |v| v.levels.len() as i64);
        let length = last_length + code_sint(&mut model.length, io, goal - last_length);
        let size = u64::try_from(length).unwrap_or(u64::MAX);
        check_limit("elements of all vectors", size, elements_left)?;
        elements_left -= size;
        last_length = length;
        let levels = vector.map_or(&[][..], |v| &v.levels);
        let levels = code_body(io, &mut model, &mut past, (levels, length as usize))?;
        io.check("the vectors")?;
        last = Vector {
            site,
            log2_step,
            levels,
        };
        if IO::DECODES {
            last.validate()?;
            vectors.push(last.clone());
        }
    }
    Ok(vectors)
}

/// Codes site and step as differences from those of the vector before.
fn code_head<IO: BitIo>(
    io: &mut IO,
    model: &mut VectorModel,
    last: &Vector,
    given: Option<&Vector>,
) -> Result<(u32, i32), FormatError> {
    // One more than the last, and 0 at first.
    let expected = i64::from(last.site.wrapping_add(1));
    let goal = given.map_or(0, |v| i64::from(v.site));
    let site = expected + code_sint(&mut model.site, io, goal - expected);
    check_limit("site", u64::try_from(site).unwrap_or(u64::MAX), MAX_SITE)?;
    let expected = i64::from(last.log2_step);
    let goal = given.map_or(0, |v| i64::from(v.log2_step));
    let log2_step = expected + code_sint(&mut model.step, io, goal - expected);
    if log2_step.abs() > i64::from(MAX_VECTOR_EXPONENT) {
        let (what, legal) = ("step exponent of a vector", "-160 to 160");
        return Err(FormatError::Invalid {
            what,
            found: log2_step,
            legal,
        });
    }
    Ok((site as u32, log2_step as i32))
}

/// Codes which earlier vector this one is like, whether its mean is subtracted, and its levels. The writer
/// tries all and takes the cheapest.
fn code_body<IO: BitIo>(
    io: &mut IO,
    model: &mut VectorModel,
    past: &mut Vec<Running>,
    levels: (&[i32], usize),
) -> Result<Vec<i32>, FormatError> {
    let best = if IO::DECODES {
        (0, false)
    } else {
        cheapest(model, past, levels)?
    };
    let limit = past.len().min(REFERENCES) as u64;
    let reference =
        model
            .reference
            .code_limited(io, "reference of a vector", best.0 as u64, limit)?;
    let centred = code_flag(io, best.1);
    let mut running = start(past, reference as usize);
    let levels = model.levels(io, &mut running, centred, levels)?;
    past.push(running);
    Ok(levels)
}

/// Running values to start from: those of the vector `reference` before, or the first ones for 0.
fn start(past: &[Running], reference: usize) -> Running {
    match reference {
        0 => Running::FIRST,
        back => Running {
            levels: TRUST,
            ..past[past.len() - back]
        },
    }
}

fn cheapest(
    model: &VectorModel,
    past: &[Running],
    levels: (&[i32], usize),
) -> Result<(usize, bool), FormatError> {
    let mut best = (u64::MAX, (0, false));
    for reference in 0..=past.len().min(REFERENCES) {
        for centred in [false, true] {
            let mut counter = Counter::new();
            let mut trial = model.clone();
            trial.reference.code(&mut counter, reference as u64);
            trial.levels(&mut counter, &mut start(past, reference), centred, levels)?;
            if counter.cost() < best.0 {
                best = (counter.cost(), (reference, centred));
            }
        }
    }
    Ok(best.1)
}
