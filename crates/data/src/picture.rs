//! A decoded picture of 8-bit samples, and the changes of colour and size that need no filter.

/// Rows of pixels with interleaved channels: 1 (grey) or 3 (red, green, blue).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) channels: usize,
    /// `height * width * channels` samples.
    pub(crate) data: Vec<u8>,
}

/// A rectangle of pixels inside a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rectangle {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Picture {
    /// Grey becomes three equal channels.
    pub(crate) fn into_rgb(self) -> Self {
        if self.channels == 3 {
            return self;
        }
        let data = self.data.iter().flat_map(|&v| [v, v, v]).collect();
        Self {
            channels: 3,
            data,
            ..self
        }
    }

    /// Colour becomes luma (ITU-R 601 in 16-bit fixed point, rounded: Pillow's mode L).
    pub(crate) fn into_grey(self) -> Self {
        if self.channels == 1 {
            return self;
        }
        let luma = |p: &[u8]| {
            (19595 * u32::from(p[0]) + 38470 * u32::from(p[1]) + 7471 * u32::from(p[2]) + 0x8000)
                >> 16
        };
        let data = self.data.chunks_exact(3).map(|p| luma(p) as u8).collect();
        Self {
            channels: 1,
            data,
            ..self
        }
    }

    /// The part inside `area`, which must lie within the picture.
    pub(crate) fn crop(&self, area: Rectangle) -> Self {
        let row = area.width * self.channels;
        let mut data = Vec::with_capacity(row * area.height);
        for y in area.top..area.top + area.height {
            let start = (y * self.width + area.left) * self.channels;
            data.extend_from_slice(&self.data[start..start + row]);
        }
        Self {
            width: area.width,
            height: area.height,
            channels: self.channels,
            data,
        }
    }
}

impl Rectangle {
    /// The whole of a picture.
    pub(crate) fn whole(width: usize, height: usize) -> Self {
        Self {
            left: 0,
            top: 0,
            width,
            height,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_of_equal_channels_is_that_channel() {
        let grey = Picture {
            width: 16,
            height: 16,
            channels: 1,
            data: (0..=255).collect(),
        };
        assert_eq!(grey.clone().into_rgb().into_grey(), grey);
    }

    #[test]
    fn a_crop_takes_the_right_pixels() {
        let picture = Picture {
            width: 3,
            height: 2,
            channels: 1,
            data: vec![0, 1, 2, 3, 4, 5],
        };
        let area = Rectangle {
            left: 1,
            top: 1,
            width: 2,
            height: 1,
        };
        assert_eq!(picture.crop(area).data, [4, 5]);
    }
}
