//! The level model as docs/format.md writes it down, sentence by sentence and without any haste: the twin that the fast
//! one is held to, bit for bit.

use std::collections::HashMap;

use super::MatrixSpec;
use crate::entropy::adaptive::{UintModel, code_plain};
use crate::entropy::surroundings::{exp8, log8};
use crate::entropy::tables::{squash, stretch};
use crate::entropy::{BitIo, Prob};

/// A slot: 24 bits of probability and a use count.
#[derive(Clone, Copy)]
struct PlainSlot {
    p24: i64,
    uses: i64,
}

impl PlainSlot {
    fn new(p: i64, uses: i64) -> Self {
        Self { p24: 256 * p, uses }
    }

    fn stretched(self) -> i64 {
        stretch((self.p24 >> 8) as u32).into()
    }

    fn learn(&mut self, bit: bool) {
        let rate = 131_072 / (2 * self.uses + 3);
        if bit {
            self.p24 += (((1 << 24) - 1 - self.p24) * rate) >> 16;
        } else {
            self.p24 -= (self.p24 * rate) >> 16;
        }
        self.uses = (self.uses + 1).min(255);
    }
}

/// (input, bank, decision, context) of a magnitude's slot; of input 3, the row, the quantizer in place of the bank.
type Key = (usize, usize, usize, i64);

pub(super) struct PlainModel {
    spec: MatrixSpec,
    /// Whether two quantizers take turns.
    dependent: bool,
    /// Columns outer; magnitudes limited to 2047.
    coded: Vec<i64>,
    slots: HashMap<Key, PlainSlot>,
    mixers: HashMap<(usize, usize), [i64; 4]>,
    sign_slots: HashMap<(usize, i64), PlainSlot>,
    sign_mixers: HashMap<usize, [i64; 3]>,
    low: HashMap<(u32, usize), PlainSlot>,
    escape: UintModel,
    slow: Vec<i64>,
    fast: Vec<i64>,
    position: Vec<i64>,
    column: i64,
    column_fast: i64,
    global: i64,
    g: i64,
    weights: Vec<[i64; 6]>,
}

fn log(x: i64) -> i64 {
    log8(u32::try_from(x).unwrap()).into()
}

fn mix<const N: usize>(weights: &[i64; N], inputs: &[i64; N]) -> Prob {
    let dot: i64 = weights.iter().zip(inputs).map(|(w, x)| (w >> 2) * x).sum();
    squash((dot >> 14) as i32)
}

fn adjust<const N: usize>(
    weights: &mut [i64; N],
    inputs: &[i64; N],
    p: Prob,
    (bit, rate): (bool, u32),
) {
    let error = (65536 * i64::from(bit) - i64::from(p.p16())) >> 2;
    for (w, x) in weights.iter_mut().zip(inputs) {
        *w = (*w + ((x * error) >> rate)).clamp(-131_072, 131_072);
    }
}

/// First probabilities, by decision and input: f0, f1, f2 of the document's table.
const TABLE: [[[i64; 3]; 3]; 9] = [
    [[-1369, 83, 100], [-672, 67, 71], [-1364, 92, 51]],
    [[-2523, 137, 78], [-1215, 78, 86], [-2659, 155, 27]],
    [[-2278, 125, 41], [-1163, 66, 82], [-2405, 138, 14]],
    [[-1884, 106, 14], [-1056, 54, 76], [-2064, 117, 10]],
    [[-1544, 90, -3], [-929, 46, 68], [-1755, 100, 6]],
    [[-1071, 65, -11], [-710, 33, 56], [-1286, 74, 5]],
    [[-743, 47, -8], [-570, 25, 48], [-989, 58, 5]],
    [[-623, 44, -30], [-495, 21, 43], [-906, 54, 3]],
    [[-431, 36, -41], [-361, 16, 34], [-727, 45, 0]],
];

fn first_slot(&(input, bank, index, context): &Key) -> PlainSlot {
    if input == 3 {
        let f = if index == 0 { -600 } else { -1200 };
        return PlainSlot::new(squash(f).p16().into(), 4);
    }
    let narrow = if bank == 2 && index == 0 { 300 } else { 0 };
    let f = if bank % 2 == 1 {
        if index == 0 { 900 } else { 352 }
    } else {
        let [f0, f1, f2] = TABLE[index.min(8)][input];
        let inner = [4, 16, 19][input];
        let offset = if input == 2 && index > 0 { 9 } else { 0 };
        f0 + f1 * (context / inner) + f2 * (context % inner - offset)
    };
    PlainSlot::new(squash((f + narrow) as i32).p16().into(), 8)
}

impl PlainModel {
    pub(super) fn new(spec: &MatrixSpec, dependent: bool) -> Self {
        Self {
            spec: *spec,
            dependent,
            coded: Vec::new(),
            slots: HashMap::new(),
            mixers: HashMap::new(),
            sign_slots: HashMap::new(),
            sign_mixers: HashMap::new(),
            low: HashMap::new(),
            escape: UintModel::default(),
            slow: vec![32768; spec.rows],
            fast: vec![32768; spec.rows],
            position: vec![32768; spec.period],
            column: 32768,
            column_fast: 32768,
            global: 32768,
            g: 0,
            weights: vec![[1600, 1600, -500, 500, 0, 0]; spec.period],
        }
    }

    /// Level (r, j - lag), 0 before the first column.
    fn level(&self, r: usize, j: usize, lag: usize) -> i64 {
        j.checked_sub(lag)
            .map_or(0, |j| self.coded[j * self.spec.rows + r])
    }

    fn taps(&self, r: usize, j: usize) -> [i64; 6] {
        let kk = self.spec.period;
        let root = (1..=kk).find(|w| w * w == kk);
        let width = root.unwrap_or(kk);
        let (x, y) = (j % kk % width, j % kk / width);
        let tap = |inside: bool, lag| if inside { self.level(r, j, lag) } else { 0 };
        [
            tap(x > 0, 1),
            tap(y > 0, width),
            tap(x > 0 && y > 0, width + 1),
            tap(y > 0 && x + 1 < width, width - 1),
            tap(x > 1, 2),
            tap(y > 1, 2 * width),
        ]
    }

    fn predicted(&self, r: usize, j: usize) -> i64 {
        let weights = &self.weights[j % self.spec.period];
        let sum: i64 = weights
            .iter()
            .zip(self.taps(r, j))
            .map(|(w, t)| w * t)
            .sum();
        (sum >> 8).clamp(-32752, 32752)
    }

    fn adapt(&mut self, j: usize) {
        let rows = self.spec.rows;
        let (mut g, mut e) = ([0i64; 6], 4);
        for r in (0..rows).step_by(rows.div_ceil(64).max(1)) {
            let t = self.taps(r, j);
            let error = 16 * self.level(r, j, 0) - self.predicted(r, j);
            (0..6).for_each(|i| g[i] += error * t[i]);
            e += 4 + t.iter().map(|t| t * t).sum::<i64>();
        }
        for (w, g) in self.weights[j % self.spec.period].iter_mut().zip(g) {
            *w = (*w + g * 2 * rows.min(64) as i64 / e).clamp(-16384, 16384);
        }
    }

    /// Codes a whole matrix, columns outer; returns its levels (indices where quantization is dependent).
    pub(super) fn code<IO: BitIo>(&mut self, io: &mut IO, levels: &[i32]) -> Vec<i32> {
        let mut coded = Vec::new();
        for j in 0..self.spec.cols {
            if j > 0 && self.spec.period > 1 {
                self.adapt(j - 1);
            }
            self.column_fast = self.column;
            self.g = log(self.global);
            // What was known of the rows when the column began.
            let logs: Vec<[i64; 2]> = (0..self.spec.rows)
                .map(|r| [log(self.slow[r]), log(self.fast[r])])
                .collect();
            let mut state = [0; 3];
            for (r, logs) in logs.into_iter().enumerate() {
                let level = levels.get(coded.len()).copied().unwrap_or(0);
                let odd = usize::from(self.dependent) * state[0];
                let level = self.code_level(io, (r, j), (logs, odd), level);
                let parity = level.unsigned_abs() as usize % 2;
                state = [state[1] ^ state[0], state[2] ^ parity, state[0]];
                self.learn((r, j), level.clamp(-2047, 2047).into());
                coded.push(level);
            }
        }
        coded
    }

    fn learn(&mut self, (r, j): (usize, usize), level: i64) {
        self.coded.push(level);
        let p = j % self.spec.period;
        let means = [
            (&mut self.slow[r], 5),
            (&mut self.fast[r], 3),
            (&mut self.position[p], 5),
            (&mut self.column, 5),
            (&mut self.column_fast, 3),
            (&mut self.global, 10),
        ];
        for (mean, s) in means {
            *mean += (65536 * level.abs() - *mean) >> s;
        }
    }

    fn decide<IO: BitIo>(
        &mut self,
        io: &mut IO,
        bank: usize,
        index: usize,
        contexts: [i64; 4],
        bit: bool,
    ) -> bool {
        let keys = [0, 1, 2, 3].map(|input| {
            let bank = if input == 3 { bank / 2 } else { bank };
            (input, bank, index, contexts[input])
        });
        let slots = keys.map(|key| *self.slots.entry(key).or_insert_with(|| first_slot(&key)));
        let inputs = slots.map(PlainSlot::stretched);
        let weights = self
            .mixers
            .entry((bank, index))
            .or_insert([24000, 24000, 24000, 0]);
        let p = mix(weights, &inputs);
        let bit = io.bit(p, bit);
        adjust(weights, &inputs, p, (bit, 14));
        keys.iter()
            .for_each(|key| self.slots.get_mut(key).unwrap().learn(bit));
        bit
    }

    fn sign<IO: BitIo>(
        &mut self,
        io: &mut IO,
        (t, class, ls): ([i64; 6], i64, i64),
        p: usize,
        negative: bool,
    ) -> bool {
        let p = p.min(63);
        let contexts = [
            (class + 9) * 8 + ((ls - 96) >> 3).clamp(0, 7),
            (2 * t[0] + 2 * t[1] + t[3] - t[2]).clamp(-9, 9)
                + 9
                + 19 * ((t[4] + t[5] + t[2]).clamp(-3, 3) + 3),
            t[0].signum() + 1 + 3 * (t[1].signum() + 1) + 9 * p as i64,
        ];
        let keys = [0, 1, 2].map(|input| (input, contexts[input]));
        let slots = keys.map(|key| {
            *self
                .sign_slots
                .entry(key)
                .or_insert(PlainSlot::new(32768, 4))
        });
        let inputs = slots.map(PlainSlot::stretched);
        let weights = self.sign_mixers.entry(p).or_insert([26000; 3]);
        let chance = mix(weights, &inputs);
        let negative = io.bit(chance, negative);
        adjust(weights, &inputs, chance, (negative, 13));
        keys.iter()
            .for_each(|key| self.sign_slots.get_mut(key).unwrap().learn(negative));
        negative
    }

    /// What is known of a level before it is coded.
    fn seen(&self, (r, j): (usize, usize), ([ls, lf], odd): ([i64; 2], usize)) -> Seen {
        let kk = self.spec.period;
        let lag = if kk > 2 { kk } else { 3 };
        let [a, b, c] = [1, 2, lag].map(|lag| self.level(r, j, lag).abs());
        let above = |rows: usize| r.checked_sub(rows).map_or(0, |r| self.level(r, j, 0).abs());
        let (u, v) = (above(1), above(2));
        let near = 2 * a + b + 2 * c;
        let sum = if kk > 1 { a + b + c } else { a } + u;
        let (taps, predicted) = match kk {
            1 => ([0; 6], 0),
            _ => (self.taps(r, j), self.predicted(r, j)),
        };
        let size = ((log(8 * predicted.abs()) - 38) >> 2).clamp(0, 9);
        let col = match kk {
            1 => self.column,
            _ => (self.column + self.position[j % kk]) >> 1,
        };
        let ex = ls + log(col) - self.g;
        let sumc = [0, 1, 2, 2, 3][sum.min(4) as usize];
        let wide = i64::from(exp8((ex - 8) as i32)) + ((near + 2 * u + v) << 12);
        let bl = log(wide.min((1 << 32) - 1)) - 128;
        let shift = ((bl >> 3) - 2).clamp(0, 18) as u32;
        let fast_class = |l: i64| ((l - 100) >> 2).clamp(0, 15);
        Seen {
            taps,
            size,
            class: if predicted < 0 { -size } else { size },
            ls,
            shift,
            bank: usize::from(shift > 0) + 2 * odd,
            first: size_of(ex - 128) * 4 + sumc,
            second: fast_class(lf) * 16 + fast_class(log(self.column_fast)),
            third: size_of(bl) * 19,
            row: r as i64,
        }
    }

    fn code_level<IO: BitIo>(
        &mut self,
        io: &mut IO,
        (r, j): (usize, usize),
        known: ([i64; 2], usize),
        level: i32,
    ) -> i32 {
        let kk = self.spec.period;
        let seen = self.seen((r, j), known);
        let (size, class) = (seen.size, seen.class);
        if !self.decide(io, seen.bank, 0, seen.contexts(size), level != 0) {
            return 0;
        }
        let negative = match kk {
            1 => io.bit(Prob::HALF, level < 0),
            _ => self.sign(io, (seen.taps, class, seen.ls), j % kk, level < 0),
        };
        let h = if (class < 0) == negative {
            9 + size
        } else {
            9 - size
        };
        let goal = u64::from(level.unsigned_abs().wrapping_sub(1));
        let rest = self.code_rest(io, (&seen, h), goal);
        let magnitude = rest.min(1 << 30) as i32 + 1;
        if negative { -magnitude } else { magnitude }
    }

    /// A magnitude less one.
    fn code_rest<IO: BitIo>(&mut self, io: &mut IO, (seen, h): (&Seen, i64), goal: u64) -> u64 {
        let (shift, contexts) = (seen.shift, seen.contexts(h));
        let high = goal >> shift;
        let mut index = 1;
        while index < 16 && self.decide(io, seen.bank, index, contexts, high >= index as u64) {
            index += 1;
        }
        let mut rest = index as u64 - 1;
        if index == 16 {
            rest += self.escape.code(io, high.saturating_sub(15));
        }
        if shift > 0 {
            let slot = self
                .low
                .entry((shift, index))
                .or_insert(PlainSlot::new(32768, 0));
            let bit = io.bit(
                Prob::new((slot.p24 >> 8) as u32),
                goal >> (shift - 1) & 1 == 1,
            );
            slot.learn(bit);
            rest = 2 * rest + u64::from(bit);
            rest = rest << (shift - 1) | code_plain(io, goal, shift - 1);
        }
        rest
    }
}

fn size_of(l: i64) -> i64 {
    ((l + 66) >> 2).clamp(0, 27)
}

/// What is known of a level before it is coded: its prediction, and the contexts that come of what lies around it.
struct Seen {
    taps: [i64; 6],
    size: i64,
    class: i64,
    ls: i64,
    shift: u32,
    bank: usize,
    first: i64,
    second: i64,
    third: i64,
    row: i64,
}

impl Seen {
    /// Contexts of a decision, with what is foreseen of the level (`h` of the document).
    fn contexts(&self, h: i64) -> [i64; 4] {
        [self.first, self.second, self.third + h, self.row]
    }
}
