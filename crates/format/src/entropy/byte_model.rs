//! A context-mixing coder of bytes for the graph and for tensors kept verbatim: predictions of orders 0 to 6,
//! of the byte one element earlier and of the longest match, mixed in the logistic domain.

use super::{
    BitIo, Prob,
    tables::{squash, stretch},
};

/// Context orders whose bytes are hashed.
const ORDERS: usize = 7;
/// Hashed orders, the element context, the match model, a constant.
const INPUTS: usize = ORDERS + 3;
const ELEMENT: usize = ORDERS;
const MATCH: usize = ORDERS + 1;
const CONSTANT: usize = ORDERS + 2;
/// Slots of one order: at most 2^18.
const MAX_SLOT_BITS: u32 = 18;
const MIN_MATCH: usize = 4;
const HASH_BITS: u32 = 16;

/// Adaptive probability with a use count: 24 bits and 8 bits.
#[derive(Debug, Clone, Copy)]
struct Slot(u32);

impl Slot {
    const NEW: Self = Self(1 << 31);
    fn p16(self) -> u32 {
        (self.0 >> 16).clamp(1, 65535)
    }
    fn uses(self) -> u32 {
        self.0 & 255
    }
    fn learn(&mut self, bit: bool, limit: u32) {
        let p = i64::from(self.0 >> 8);
        let target = if bit { (1 << 24) - 1 } else { 0 };
        let p = p + (target - p) * 2 / (2 * i64::from(self.uses()) + 3);
        self.0 = ((p as u32) << 8) | (self.uses() + 1).min(limit);
    }
}

/// Model of a sequence of bytes.
#[derive(Debug, Clone)]
pub struct ByteModel {
    /// Distance of the element context.
    width: usize,
    slots: Vec<Slot>,
    slot_bits: u32,
    weights: Vec<[i32; INPUTS]>,
    matches: Vec<Slot>,
    /// Everything coded so far.
    seen: Vec<u8>,
    /// Position after the last occurrence of a hash of [`MIN_MATCH`] bytes.
    last: Vec<u32>,
    /// Position of the byte predicted by the match, and its length; length 0: none.
    pointer: usize,
    length: usize,
}

impl ByteModel {
    /// A model for about `expected` bytes in elements of `width` bytes.
    #[must_use]
    pub fn new(expected: usize, width: u8) -> Self {
        let slot_bits = (expected.clamp(256, 1 << 24) * 8).ilog2().clamp(12, MAX_SLOT_BITS);
        Self {
            width: usize::from(width.max(1)),
            slots: vec![Slot::NEW; (ORDERS + 1) << slot_bits],
            slot_bits,
            weights: vec![[20000; INPUTS]; 3 * (ORDERS + 1)],
            matches: vec![Slot::NEW; 64],
            seen: Vec::new(),
            last: vec![0; 1 << HASH_BITS],
            pointer: 0,
            length: 0,
        }
    }

    /// Codes a byte and learns it; returns it (the one read when decoding).
    pub fn code<IO: BitIo>(&mut self, io: &mut IO, byte: u8) -> u8 {
        let bases = self.hashes();
        let mut partial = 1u32;
        for i in (0..8).rev() {
            let bit = self.code_bit(io, &bases, partial, (byte >> i) & 1 == 1);
            partial = (partial << 1) | u32::from(bit);
        }
        let byte = partial as u8;
        self.seen.push(byte);
        self.follow_match(byte);
        byte
    }

    fn hashes(&self) -> [u32; ORDERS + 1] {
        let mut bases = [0u32; ORDERS + 1];
        let mut hash = 0u32;
        for order in 0..ORDERS {
            bases[order] = hash.wrapping_mul(0x9E37_79B1);
            let back = self.seen.len().checked_sub(order + 1).map_or(0, |i| self.seen[i]);
            hash = (hash + u32::from(back) + 1).wrapping_mul(0x2F0B_4C47).rotate_left(9);
        }
        let element = self.seen.len().checked_sub(self.width).map_or(0, |i| self.seen[i]);
        let phase = (self.seen.len() % self.width) as u32;
        bases[ELEMENT] = (u32::from(element) + 256 * phase + 1).wrapping_mul(0x85EB_CA6B);
        bases
    }

    fn slot_index(&self, order: usize, base: u32, partial: u32) -> usize {
        let hash = (base ^ partial.wrapping_mul(0xC2B2_AE35)).wrapping_mul(0x9E37_79B1);
        (order << self.slot_bits) + (hash >> (32 - self.slot_bits)) as usize
    }

    /// Bit that the match predicts, if its byte agrees with the bits of this byte coded so far.
    fn predicted(&self, partial: u32) -> Option<bool> {
        if self.length == 0 {
            return None;
        }
        let byte = 256 | u32::from(self.seen[self.pointer]);
        let coded = partial.ilog2();
        (byte >> (8 - coded) == partial).then_some((byte >> (7 - coded)) & 1 == 1)
    }

    fn code_bit<IO: BitIo>(
        &mut self,
        io: &mut IO,
        bases: &[u32; ORDERS + 1],
        partial: u32,
        bit: bool,
    ) -> bool {
        let mut inputs = [0i32; INPUTS];
        let mut at = [0usize; ORDERS + 1];
        let mut known = 0;
        for (order, &base) in bases.iter().enumerate() {
            at[order] = self.slot_index(order, base, partial);
            let slot = self.slots[at[order]];
            inputs[order] = stretch(slot.p16());
            if order == known && order < ORDERS && slot.uses() > 0 {
                known += 1;
            }
        }
        let predicted = self.predicted(partial);
        let match_slot = self.length.min(31) * 2;
        if let Some(one) = predicted {
            let confidence = stretch(self.matches[match_slot].p16());
            inputs[MATCH] = if one { confidence } else { -confidence };
        }
        inputs[CONSTANT] = 256;
        let state = match predicted {
            None => 0,
            Some(_) if self.length < 16 => 1,
            Some(_) => 2,
        };
        let set = state * (ORDERS + 1) + known;
        let p = mix(&self.weights[set], &inputs);
        let bit = io.bit(p, bit);
        adjust(&mut self.weights[set], &inputs, p, bit);
        for index in at {
            self.slots[index].learn(bit, 60);
        }
        if let Some(one) = predicted {
            self.matches[match_slot].learn(one == bit, 250);
        }
        bit
    }

    fn follow_match(&mut self, byte: u8) {
        if self.length > 0 && self.seen[self.pointer] == byte {
            self.length = (self.length + 1).min(65535);
            self.pointer += 1;
        } else {
            self.length = 0;
        }
        let Some(tail) = self.seen.last_chunk::<MIN_MATCH>() else { return };
        let hash = u32::from_le_bytes(*tail).wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS);
        if self.length == 0 {
            let pointer = self.last[hash as usize] as usize;
            if pointer > 0 {
                let before = self.seen[..pointer].iter().rev();
                let same = before.zip(self.seen.iter().rev()).take(32).take_while(|(a, b)| a == b);
                self.length = same.count();
                self.pointer = pointer;
            }
        }
        self.last[hash as usize] = self.seen.len() as u32;
    }
}

fn mix(weights: &[i32; INPUTS], inputs: &[i32; INPUTS]) -> Prob {
    let dot: i64 = weights.iter().zip(inputs).map(|(&w, &x)| i64::from(w) * i64::from(x)).sum();
    squash((dot >> 16) as i32)
}

fn adjust(weights: &mut [i32; INPUTS], inputs: &[i32; INPUTS], p: Prob, bit: bool) {
    let error = (i32::from(bit) << 16) - p.p16() as i32;
    for (weight, &input) in weights.iter_mut().zip(inputs) {
        *weight += (i64::from(input) * i64::from(error) >> 16) as i32;
    }
}
