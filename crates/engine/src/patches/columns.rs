//! Patches copied into columns and added back, channel by channel: the part of a channel that a piece needs is laid out with its
//! padding first, so that every kernel element then takes whole rows of it, of one length.

use super::{Patches, Piece};

impl Patches {
    /// Rows and columns of the padded part of a plane that a piece needs.
    fn padded(&self, piece: &Piece) -> [usize; 2] {
        let reach = |axis: usize, count: usize| {
            (count - 1) * self.strides[axis] + (self.kernel[axis] - 1) * self.dilations[axis] + 1
        };
        [reach(0, piece.rows.len()), reach(1, self.out[1])]
    }

    /// Calls `act` for all rows of a channel's padded planes that lie in the image: where they begin in the planes and in x, and
    /// how long they are.
    fn rows_inside(&self, piece: &Piece, channel: usize, mut act: impl FnMut(usize, usize, usize)) {
        let [height, width] = self.padded(piece);
        let length = self.size[1].min(width.saturating_sub(self.pads[1]));
        if length == 0 {
            return;
        }
        let first = piece.rows.start * self.strides[0];
        for image in 0..piece.count {
            let plane = ((piece.first + image) * self.inputs + channel) * self.size[0];
            for row in 0..height {
                let inside = (first + row).checked_sub(self.pads[0]);
                if let Some(y) = inside.filter(|&y| y < self.size[0]) {
                    let padded = (image * height + row) * width + self.pads[1];
                    act(padded, (plane + y) * self.size[1], length);
                }
            }
        }
    }

    /// Calls `act` for every kernel element and image of a channel: where its numbers begin in the columns and in the padded planes.
    fn taps(&self, piece: &Piece, channel: usize, mut act: impl FnMut(usize, usize)) {
        let [height, width] = self.padded(piece);
        let of_image = piece.rows.len() * self.out[1];
        let [down, across] = self.kernel;
        for i in 0..down {
            for j in 0..across {
                let row = (channel * down + i) * across + j;
                let shift = i * self.dilations[0] * width + j * self.dilations[1];
                for image in 0..piece.count {
                    let to = (row * piece.count + image) * of_image;
                    act(to, image * height * width + shift);
                }
            }
        }
    }

    /// Lengths: of a row, of all rows of an image; steps: from row to row and from number to number in padded planes.
    fn grid(&self, piece: &Piece) -> Grid {
        let [_, width] = self.padded(piece);
        Grid {
            row: self.out[1],
            all: piece.rows.len() * self.out[1],
            down: self.strides[0] * width,
            across: self.strides[1],
        }
    }

    /// Patches of a piece as columns.
    pub(super) fn gather(&self, x: &[f32], piece: &Piece, columns: &mut [f32]) {
        let [height, width] = self.padded(piece);
        let grid = self.grid(piece);
        let mut planes = vec![0.0; piece.count * height * width];
        for channel in 0..self.inputs {
            // The padding stays zero.
            self.rows_inside(piece, channel, |to, from, length| {
                planes[to..to + length].copy_from_slice(&x[from..from + length]);
            });
            self.taps(piece, channel, |to, from| {
                grid.read(&planes[from..], &mut columns[to..to + grid.all]);
            });
        }
    }

    /// Adds columns back to where their numbers were taken.
    pub(super) fn scatter(&self, columns: &[f32], piece: &Piece, dx: &mut [f32]) {
        let [height, width] = self.padded(piece);
        let grid = self.grid(piece);
        let mut planes = vec![0.0; piece.count * height * width];
        for channel in 0..self.inputs {
            planes.fill(0.0);
            self.taps(piece, channel, |from, to| {
                grid.add(&columns[from..from + grid.all], &mut planes[to..]);
            });
            self.rows_inside(piece, channel, |from, to, length| {
                let values = planes[from..from + length].iter();
                let places = dx[to..to + length].iter_mut();
                places.zip(values).for_each(|(d, v)| *d += v);
            });
        }
    }
}

/// Rows taken out of a padded plane.
struct Grid {
    row: usize,
    all: usize,
    down: usize,
    across: usize,
}

impl Grid {
    fn read(&self, plane: &[f32], to: &mut [f32]) {
        match (self.across, self.row) {
            (1, 4) => self.read_rows::<4>(plane, to),
            (1, 8) => self.read_rows::<8>(plane, to),
            (1, 16) => self.read_rows::<16>(plane, to),
            (1, 32) => self.read_rows::<32>(plane, to),
            (1, row) => {
                let rows = to.chunks_exact_mut(row).zip(plane.chunks(self.down));
                rows.for_each(|(to, from)| to.copy_from_slice(&from[..row]));
            }
            (across, row) => {
                for (to, from) in to.chunks_exact_mut(row).zip(plane.chunks(self.down)) {
                    let taken = from.iter().step_by(across);
                    to.iter_mut().zip(taken).for_each(|(to, v)| *to = *v);
                }
            }
        }
    }

    /// Rows of a length known beforehand: copied without a call.
    fn read_rows<const N: usize>(&self, plane: &[f32], to: &mut [f32]) {
        let (rows, _) = to.as_chunks_mut::<N>();
        for (to, from) in rows.iter_mut().zip(plane.chunks(self.down)) {
            if let Some(from) = from.first_chunk::<N>() {
                *to = *from;
            }
        }
    }

    fn add(&self, values: &[f32], plane: &mut [f32]) {
        match (self.across, self.row) {
            (1, 4) => self.add_rows::<4>(values, plane),
            (1, 8) => self.add_rows::<8>(values, plane),
            (1, 16) => self.add_rows::<16>(values, plane),
            (1, 32) => self.add_rows::<32>(values, plane),
            (across, row) => {
                for (values, to) in values.chunks_exact(row).zip(plane.chunks_mut(self.down)) {
                    let places = to.iter_mut().step_by(across);
                    places.zip(values).for_each(|(to, v)| *to += v);
                }
            }
        }
    }

    fn add_rows<const N: usize>(&self, values: &[f32], plane: &mut [f32]) {
        let (rows, _) = values.as_chunks::<N>();
        for (values, to) in rows.iter().zip(plane.chunks_mut(self.down)) {
            if let Some(to) = to.first_chunk_mut::<N>() {
                to.iter_mut().zip(values).for_each(|(to, v)| *to += v);
            }
        }
    }
}
