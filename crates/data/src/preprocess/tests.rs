//! Numbers, and the geometry of every mode.

use super::*;
use crate::picture::Rectangle;

fn with_resize(mode: ResizeMode, size: usize) -> Preprocess {
    Preprocess {
        resize: Resize {
            mode,
            size: Some(Size::Side(size)),
            filter: Filter::Bicubic,
        },
        ..Preprocess::default()
    }
}

#[test]
fn sizes_follow_the_protocols() {
    let lite = with_resize(ResizeMode::EfficientNet, 224);
    let way = lite.geometry((500, 375), 0).unwrap();
    // int(224 / 256 * 375) = 328, (500 - 328 + 1) // 2 = 86, (375 - 328 + 1) // 2 = 24
    let square = Rectangle {
        left: 86,
        top: 24,
        width: 328,
        height: 328,
    };
    assert_eq!((way.before, way.output()), (square, (224, 224)));
    assert_eq!(
        lite.geometry((256, 341), 0).unwrap().before,
        Rectangle {
            left: 16,
            top: 59,
            width: 224,
            height: 224
        }
    );
    let mut torch = with_resize(ResizeMode::Shorter, 256);
    assert_eq!(torch.geometry((500, 375), 0).unwrap().output(), (341, 256));
    torch.crop = Crop {
        mode: CropMode::Central,
        size: Some(Size::Side(224)),
        seed: 0,
    };
    let cut = torch.geometry((500, 375), 0).unwrap().after;
    assert_eq!((cut.left, cut.top), (58, 16));
    let mut small = Preprocess {
        crop: torch.crop,
        ..Preprocess::default()
    };
    assert!(
        small
            .geometry((100, 300), 0)
            .unwrap_err()
            .contains("too few")
    );
    small.crop.mode = CropMode::Random;
    assert_eq!(small.geometry((100, 300), 0).unwrap().output(), (100, 224));
}

#[test]
fn random_crops_differ_by_image_and_repeat() {
    let crops = Preprocess {
        crop: Crop {
            mode: CropMode::Random,
            size: Some(Size::Sides([40, 96])),
            seed: 3,
        },
        ..Preprocess::default()
    };
    let places: Vec<_> = (0..20)
        .map(|i| crops.geometry((500, 375), i).unwrap())
        .collect();
    assert_eq!(places[7], crops.geometry((500, 375), 7).unwrap());
    assert!(places.iter().any(|p| p.after.left != places[0].after.left));
    for place in &places {
        assert_eq!(place.output(), (96, 40));
        assert!(place.after.left + 96 <= 500 && place.after.top + 40 <= 375);
    }
}

#[test]
fn scaling_by_a_fraction_is_the_division_in_f32() {
    let table = Preprocess::unit_range().table(0);
    for (v, scaled) in table.iter().enumerate() {
        assert_eq!(*scaled, v as f32 / 255.0);
    }
}

#[test]
fn channels_and_axes_are_ordered_as_asked() {
    let picture = Picture {
        width: 2,
        height: 1,
        channels: 3,
        data: vec![1, 2, 3, 4, 5, 6],
    };
    let mut preprocess = Preprocess {
        channels: Channels::Bgr,
        mean: PerChannel(vec![1.0, 2.0, 3.0]),
        std: PerChannel(vec![2.0]),
        ..Preprocess::default()
    };
    let tensor = preprocess.tensor(&picture);
    assert_eq!(tensor.dim(), (3, 1, 2));
    assert_eq!(tensor[[0, 0, 1]], (6.0 - 1.0) / 2.0);
    assert_eq!(tensor[[2, 0, 0]], (1.0 - 3.0) / 2.0);
    preprocess.layout = Layout::Nhwc;
    let tensor = preprocess.tensor(&picture);
    assert_eq!(tensor.dim(), (1, 2, 3));
    assert_eq!(tensor[[0, 1, 0]], (6.0 - 1.0) / 2.0);
}
