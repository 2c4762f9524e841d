//! A context-mixing coder of bytes, for the graph and for tensors kept verbatim: orders 0 to 6, words, the
//! element before, and a match that survives single differences, mixed in the logistic domain.

use super::{BitIo, Counter, Prob, mixing::Slot, tables::squash};

/// Hashed contexts: orders 0 to 6, then those named below.
const ORDERS: usize = 7;
/// The word being spelt.
const WORD: usize = ORDERS;
/// That and the word before.
const WORDS: usize = ORDERS + 1;
/// The bytes one and two elements before.
const ELEMENT: usize = ORDERS + 2;
/// The byte that the match expects.
const EXPECTED: usize = ORDERS + 3;
/// The second to fourth byte before, but not the first: fields whose first byte varies.
const SPARSE: usize = ORDERS + 4;
const CONTEXTS: usize = ORDERS + 5;
/// The contexts, the match, a constant.
const INPUTS: usize = CONTEXTS + 2;
const MATCH: usize = CONTEXTS;
const CONSTANT: usize = CONTEXTS + 1;
/// Slots of one context: at most 2^18.
const MAX_SLOT_BITS: u32 = 18;
/// Bytes that must agree before a match is looked for.
const MIN_MATCH: usize = 4;
/// A match at least this long is not exchanged for another.
const SETTLED: usize = 16;
/// Longest agreement that is counted when a match is found.
const MAX_FOUND: usize = 32;
/// Differences among the last eight bytes that end a match.
const MAX_MISSES: u32 = 4;
const HASH_BITS: u32 = 16;
/// First weight of every input in each of the two sets, 1 = 65536.
const FIRST_WEIGHT: i32 = 8000;
/// States of the match times counts of known orders.
const MATCH_SETS: usize = 4 * (ORDERS + 1);
/// Bound of a weight, 16.
const MAX_WEIGHT: i32 = 1 << 20;

/// A tiny network in the ONNX wire format: the graph's model has read it before it starts.
const PRIME: &[u8] = include_bytes!("graph_prime.bin");

/// The earlier place that the current bytes seem to repeat.
#[derive(Debug, Clone, Copy, Default)]
struct Match {
    /// Position of the byte predicted next; 0: no match.
    pointer: usize,
    /// Bytes agreed since the last difference.
    length: usize,
    /// The last outcomes, one bit a byte, 1 a difference.
    misses: u8,
}

/// Model of a sequence of bytes.
#[derive(Debug, Clone)]
pub struct ByteModel {
    /// Bytes of an element.
    width: usize,
    slots: Vec<Slot>,
    slot_bits: u32,
    /// Weights chosen by the match's state and the number of orders seen before.
    by_match: Vec<[i32; INPUTS]>,
    /// Weights chosen by the bits of this byte coded so far.
    by_bits: Vec<[i32; INPUTS]>,
    /// How often matches of each length and history are right.
    agreement: Vec<Slot>,
    /// Everything coded so far.
    seen: Vec<u8>,
    /// Position after the last occurrence of each hash of [`MIN_MATCH`] bytes.
    last: Vec<u32>,
    found: Match,
    /// Hashes of the word being spelt and of the one before.
    words: [u32; 2],
}

impl ByteModel {
    /// A model for about `expected` bytes, elements of one byte.
    #[must_use]
    pub fn new(expected: usize) -> Self {
        let slot_bits = (expected.clamp(256, 1 << 24) * 8)
            .ilog2()
            .clamp(12, MAX_SLOT_BITS);
        Self {
            width: 1,
            slots: vec![Slot::new(1 << 15, 0); CONTEXTS << slot_bits],
            slot_bits,
            by_match: vec![[FIRST_WEIGHT; INPUTS]; MATCH_SETS],
            by_bits: vec![[FIRST_WEIGHT; INPUTS]; 256],
            agreement: (0..64)
                .map(|i| Slot::new(65536 - 32768 / (i / 4 + 2), 4))
                .collect(),
            seen: Vec::new(),
            last: vec![0; 1 << HASH_BITS],
            found: Match::default(),
            words: [0; 2],
        }
    }

    /// A model for a graph of about `expected` bytes, which knows how ONNX files look.
    #[must_use]
    pub fn for_graph(expected: usize) -> Self {
        let mut model = Self::new(expected);
        for &byte in PRIME {
            model.code(&mut Counter::new(), byte);
        }
        model
    }

    /// Says how many bytes an element has from here on.
    pub fn set_width(&mut self, width: u8) {
        self.width = usize::from(width.max(1));
    }

    /// Codes a byte and learns it; returns it (the one read when decoding).
    pub fn code<IO: BitIo>(&mut self, io: &mut IO, byte: u8) -> u8 {
        let bases = self.bases();
        let mut partial = 1u32;
        for i in (0..8).rev() {
            let bit = self.code_bit(io, &bases, partial, (byte >> i) & 1 == 1);
            partial = (partial << 1) | u32::from(bit);
        }
        let byte = partial as u8;
        self.seen.push(byte);
        self.spell(byte);
        self.follow_match(byte);
        byte
    }

    fn back(&self, distance: usize) -> u32 {
        self.seen
            .len()
            .checked_sub(distance)
            .map_or(0, |i| u32::from(self.seen[i]))
    }

    /// A hash for each context.
    fn bases(&self) -> [u32; CONTEXTS] {
        let mut bases = [0u32; CONTEXTS];
        let mut hash = 0u32;
        for (order, base) in bases.iter_mut().take(ORDERS).enumerate() {
            *base = hash;
            hash = scramble(hash.wrapping_add(self.back(order + 1) + 1));
        }
        let [word, previous] = self.words;
        bases[WORD] = scramble(word ^ self.back(1) << 24);
        bases[WORDS] = scramble(word.wrapping_add(previous.wrapping_mul(31)));
        let phase = (self.seen.len() % self.width) as u32;
        bases[ELEMENT] =
            scramble(self.back(self.width) + 256 * phase + (self.back(2 * self.width) << 16));
        bases[EXPECTED] = match self.expected() {
            Some(byte) => scramble(
                1 + u32::from(byte) + 256 * self.found.length.min(15) as u32 + 4096 * self.back(1),
            ),
            None => 0,
        };
        bases[SPARSE] = scramble(self.back(2) + (self.back(3) << 8) + (self.back(4) << 16));
        bases
    }

    fn expected(&self) -> Option<u8> {
        (self.found.pointer > 0).then(|| self.seen[self.found.pointer])
    }

    /// Slot of a context given the bits of this byte coded so far.
    fn slot_index(&self, context: usize, base: u32, partial: u32) -> usize {
        let hash = scramble(base ^ partial.wrapping_mul(0xC2B2_AE35));
        (context << self.slot_bits) + (hash >> (32 - self.slot_bits)) as usize
    }

    /// The bit that the match predicts, if its byte agrees with the bits coded so far.
    fn predicted(&self, partial: u32) -> Option<bool> {
        let byte = 256 | u32::from(self.expected()?);
        let coded = partial.ilog2();
        (byte >> (8 - coded) == partial).then_some((byte >> (7 - coded)) & 1 == 1)
    }

    fn code_bit<IO: BitIo>(
        &mut self,
        io: &mut IO,
        bases: &[u32; CONTEXTS],
        partial: u32,
        bit: bool,
    ) -> bool {
        let mut at = [0usize; CONTEXTS];
        for (context, (at, &base)) in at.iter_mut().zip(bases).enumerate() {
            *at = self.slot_index(context, base, partial);
        }
        let predicted = self.predicted(partial);
        let agreement = self.found.length.min(15) * 4 + usize::from(self.found.misses & 3);
        let inputs = self.inputs(&at, predicted, agreement);
        let set = self.match_set(&at, predicted);
        let by_bits = &mut self.by_bits[partial as usize];
        let p = mix(&self.by_match[set], by_bits, &inputs);
        let bit = io.bit(p, bit);
        adjust(&mut self.by_match[set], &inputs, p, bit);
        adjust(by_bits, &inputs, p, bit);
        for index in at {
            self.slots[index].learn(bit);
        }
        if let Some(one) = predicted {
            self.agreement[agreement].learn(one == bit);
        }
        bit
    }

    /// Stretched predictions; a slot never used says nothing.
    fn inputs(
        &self,
        at: &[usize; CONTEXTS],
        predicted: Option<bool>,
        agreement: usize,
    ) -> [i32; INPUTS] {
        let mut inputs = [0i32; INPUTS];
        for (input, &index) in inputs.iter_mut().zip(at) {
            let slot = self.slots[index];
            *input = if slot.uses() == 0 {
                0
            } else {
                slot.stretched()
            };
        }
        if let Some(one) = predicted {
            let confidence = self.agreement[agreement].stretched();
            inputs[MATCH] = if one { confidence } else { -confidence };
        }
        inputs[CONSTANT] = 256;
        inputs
    }

    /// Weight set: how good the match is, and how many orders from 0 up have been seen before.
    fn match_set(&self, at: &[usize; CONTEXTS], predicted: Option<bool>) -> usize {
        let state = match (predicted, self.found.length) {
            (None, _) => 0,
            (Some(_), 0) => 1,
            (Some(_), 1..SETTLED) => 2,
            (Some(_), _) => 3,
        };
        let known = at[..ORDERS]
            .iter()
            .take_while(|&&index| self.slots[index].uses() > 0)
            .count();
        state * (ORDERS + 1) + known
    }

    /// Keeps the hashes of the last two words of letters, digits and underscores.
    fn spell(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            self.words[0] = scramble(self.words[0].wrapping_add(u32::from(byte) + 1));
        } else if self.words[0] != 0 {
            self.words = [0, self.words[0]];
        }
    }

    /// Moves on, across a difference too, and changes to a longer match when there is one.
    fn follow_match(&mut self, byte: u8) {
        if self.found.pointer > 0 {
            let miss = self.seen[self.found.pointer] != byte;
            self.found.misses = self.found.misses << 1 | u8::from(miss);
            self.found.length = if miss { 0 } else { self.found.length + 1 };
            self.found.pointer += 1;
            if self.found.misses.count_ones() > MAX_MISSES {
                self.found = Match::default();
            }
        }
        let Some(tail) = self.seen.last_chunk::<MIN_MATCH>() else {
            return;
        };
        let hash = scramble(u32::from_le_bytes(*tail)) >> (32 - HASH_BITS);
        let pointer = self.last[hash as usize] as usize;
        if pointer > 0 && self.found.length < SETTLED {
            let before = self.seen[..pointer].iter().rev();
            let same = before
                .zip(self.seen.iter().rev())
                .take(MAX_FOUND)
                .take_while(|(a, b)| a == b);
            let length = same.count();
            if length >= MIN_MATCH && length > self.found.length {
                self.found = Match {
                    pointer,
                    length,
                    misses: 0,
                };
            }
        }
        self.last[hash as usize] = self.seen.len() as u32;
    }
}

fn scramble(x: u32) -> u32 {
    let x = x.wrapping_mul(0x9E37_79B1);
    (x ^ x >> 15).wrapping_mul(0x85EB_CA6B)
}

/// The mean of what two sets of weights make of the inputs (each set holds half of a weight).
fn mix(a: &[i32; INPUTS], b: &[i32; INPUTS], inputs: &[i32; INPUTS]) -> Prob {
    let weights = a.iter().zip(b).map(|(&a, &b)| i64::from(a + b));
    let dot: i64 = weights
        .zip(inputs)
        .map(|(weight, &x)| weight * i64::from(x))
        .sum();
    // At most 2^21 · 2^12 · 14 inputs / 2^16.
    squash((dot >> 16) as i32)
}

fn adjust(weights: &mut [i32; INPUTS], inputs: &[i32; INPUTS], p: Prob, bit: bool) {
    let error = (i32::from(bit) << 16) - p.p16() as i32;
    for (weight, &input) in weights.iter_mut().zip(inputs) {
        let step = ((i64::from(input) * i64::from(error)) >> 15) as i32;
        *weight = (*weight + step).clamp(-MAX_WEIGHT, MAX_WEIGHT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Decoder, Encoder};
    use proptest::prelude::*;

    fn code<IO: BitIo>(io: &mut IO, mut model: ByteModel, bytes: &[u8], count: usize) -> Vec<u8> {
        (0..count)
            .map(|i| model.code(io, bytes.get(i).copied().unwrap_or(0)))
            .collect()
    }

    proptest! {
        #![proptest_config(crate::seeded(256))]

        #[test]
        fn bytes_come_back(
            bytes in prop::collection::vec(prop_oneof![Just(7u8), 60u8..64, any::<u8>()], 0..600),
            width in prop::sample::select(vec![1u8, 2, 4, 8]),
        ) {
            let mut encoder = Encoder::new();
            let mut model = ByteModel::new(bytes.len());
            model.set_width(width);
            code(&mut encoder, model.clone(), &bytes, bytes.len());
            let stream = encoder.finish();
            prop_assert_eq!(code(&mut Decoder::new(&stream), model, &[], bytes.len()), bytes);
        }
    }

    #[test]
    fn repeated_records_with_counters_become_cheap() {
        let bytes: Vec<u8> = (0..200)
            .flat_map(|i| format!("/layer/block.{i}/Conv_output_0").into_bytes())
            .collect();
        let mut counter = Counter::new();
        code(
            &mut counter,
            ByteModel::new(bytes.len()),
            &bytes,
            bytes.len(),
        );
        assert!(
            counter.bits_f64() < 0.5 * bytes.len() as f64,
            "{}",
            counter.bits_f64()
        );
    }

    #[test]
    fn a_graph_model_knows_operator_names() {
        let text = b"BatchNormalization";
        let cost = |model| {
            let mut counter = Counter::new();
            code(&mut counter, model, text, text.len());
            counter.cost()
        };
        assert!(cost(ByteModel::for_graph(1000)) * 2 < cost(ByteModel::new(1000)));
    }

    #[test]
    fn the_document_lists_the_priming_bytes() {
        let document = include_str!("../../../../docs/format.md");
        let listed = document
            .split("## Appendix B")
            .nth(1)
            .unwrap()
            .split("```")
            .nth(1)
            .unwrap();
        let hex: String = PRIME.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(listed.split_whitespace().collect::<String>(), hex);
    }
}
