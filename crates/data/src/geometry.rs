//! Where a picture's pixels go: colour, change of size, crop. All of it is fixed by the picture's size
//! and index alone, so that a sample's size can be known without decoding.

use crate::picture::{Picture, Rectangle};
use crate::preprocess::{Channels, CropMode, MAX_SIDE, Preprocess, ResizeMode, Size};
use crate::random::Generator;
use crate::resample::resize;

/// What happens to a picture of known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Part taken before the change of size.
    pub(crate) before: Rectangle,
    /// Width and height after the change of size.
    resized: (usize, usize),
    /// Part of that which is kept.
    pub(crate) after: Rectangle,
}

impl Geometry {
    /// Width and height of what comes out.
    pub(crate) fn output(&self) -> (usize, usize) {
        (self.after.width, self.after.height)
    }
}

impl Preprocess {
    /// The way of picture `index` of this size.
    pub(crate) fn geometry(
        &self,
        (width, height): (usize, usize),
        index: usize,
    ) -> Result<Geometry, String> {
        let mut before = Rectangle::whole(width, height);
        let side = self.resize.size.map_or((0, 0), Size::height_width);
        let resized = match self.resize.mode {
            ResizeMode::None => (width, height),
            ResizeMode::Exact => (side.1, side.0),
            ResizeMode::Shorter => shorter_side(width, height, side.0),
            ResizeMode::EfficientNet => {
                before = padded_square(width, height, side.0);
                (side.0, side.0)
            }
        };
        if resized.0 > MAX_SIDE * 4 || resized.1 > MAX_SIDE * 4 {
            return Err(format!(
                "its size of {width} x {height} would become {} x {}",
                resized.0, resized.1
            ));
        }
        let after = self.crop_area(resized, index)?;
        Ok(Geometry {
            before,
            resized,
            after,
        })
    }

    fn crop_area(
        &self,
        (width, height): (usize, usize),
        index: usize,
    ) -> Result<Rectangle, String> {
        let (rows, columns) = self.crop.size.map_or((0, 0), Size::height_width);
        match self.crop.mode {
            CropMode::None => Ok(Rectangle::whole(width, height)),
            CropMode::Central if rows > height || columns > width => Err(format!(
                "its {width} x {height} pixels are too few for a crop of {columns} x {rows}"
            )),
            CropMode::Central => Ok(Rectangle {
                left: (width - columns) / 2,
                top: (height - rows) / 2,
                width: columns,
                height: rows,
            }),
            CropMode::Random => {
                let (rows, columns) = (rows.min(height), columns.min(width));
                let mut generator = Generator::new(&[self.crop.seed, index as u64]);
                Ok(Rectangle {
                    left: generator.below(width - columns + 1),
                    top: generator.below(height - rows + 1),
                    width: columns,
                    height: rows,
                })
            }
        }
    }

    /// The picture in the right colours and size: 1 channel for grey, else red, green, blue.
    pub(crate) fn shape(&self, picture: Picture, geometry: &Geometry) -> Picture {
        let mut picture = match self.channels {
            Channels::Grey => picture.into_grey(),
            Channels::Rgb | Channels::Bgr => picture.into_rgb(),
        };
        if geometry.before != Rectangle::whole(picture.width, picture.height) {
            picture = picture.crop(geometry.before);
        }
        let (width, height) = geometry.resized;
        if (width, height) != (picture.width, picture.height) {
            picture = resize(&picture, width, height, self.resize.filter);
        }
        if geometry.after != Rectangle::whole(picture.width, picture.height) {
            picture = picture.crop(geometry.after);
        }
        picture
    }
}

/// The shorter side becomes `side`.
fn shorter_side(width: usize, height: usize, side: usize) -> (usize, usize) {
    let scaled = |v: usize| {
        let exact = (v * side) as f64 / width.min(height) as f64;
        exact.round_ties_even() as usize
    };
    (scaled(width), scaled(height))
}

/// EfficientNet's evaluation crop: a border of 32 in S + 32 is left out.
fn padded_square(width: usize, height: usize, size: usize) -> Rectangle {
    let share = size as f64 / (size + 32) as f64;
    let side = ((share * width.min(height) as f64) as usize).max(1);
    Rectangle {
        left: (width - side).div_ceil(2),
        top: (height - side).div_ceil(2),
        width: side,
        height: side,
    }
}
