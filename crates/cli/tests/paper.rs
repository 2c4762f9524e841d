//! Statistics in shards and the published method, by the program as a user runs it.

mod desk;

use desk::Desk;
use serde_json::Value;

/// Calibrates in shards and merges them; the name of the merged file.
fn merged(desk: &Desk, images: &str, shards: usize) -> String {
    let mut merge = format!("merge -o {images}-{shards}.stats");
    for shard in 1..=shards {
        let file = format!("{images}-{shard}of{shards}.stats");
        desk.json(&format!(
            "calibrate MODEL --calib CALIB --images {images} --shard {shard}/{shards} -o {file}"
        ));
        merge.push_str(&format!(" {file}"));
    }
    desk.json(&merge);
    format!("{images}-{shards}.stats")
}

/// Four shards merged are the whole, byte for byte; so are more shards than there are units of images, of which some are empty.
#[test]
fn shards_add_up() {
    let desk = Desk::new();
    for (images, shards) in [("128", 4), ("40", 3)] {
        desk.json(&format!(
            "calibrate MODEL --calib CALIB --images {images} -o whole.stats --force"
        ));
        let merged = merged(&desk, images, shards);
        assert!(desk.read("whole.stats") == desk.read(&merged), "{merged}");
    }
    let seen = desk.json("inspect 128-3of4.stats");
    assert_eq!(seen["seen"][0]["start"], 64);
    assert_eq!((&seen["images"], &seen["total"]), (&32.into(), &128.into()));
    let layers = seen["layers"].as_array().expect("an array");
    assert!(!layers.is_empty() && layers.iter().all(|l| l["images"] == 32.0));
}

/// The published method takes statistics, with transforms of any axis.
#[test]
fn the_published_method_transforms_along_any_axis() {
    let desk = Desk::new();
    desk.json("calibrate MODEL --calib CALIB --images 64 -o m.stats");
    for (transform, axis) in [("elt", "row"), ("klt", "column"), ("dct2", "kernel")] {
        let compressed = desk.json(&format!(
            "compress MODEL --stats m.stats --preset paper --transform {transform} --axis {axis} --bits 4 -o {axis}.tqz"
        ));
        let rate = compressed["bits_per_weight"].as_f64();
        assert!(rate.is_some_and(|b| b <= 4.0), "{compressed}");
        let layers = compressed["report"]["layers"].as_array().expect("layers");
        assert!(layers.iter().any(|layer| layer["transform"] == axis));
        desk.json(&format!("decompress {axis}.tqz -o {axis}.onnx"));
    }
}

/// Gains of both factors add up, in decibel and in bits, and the ELT's is nowhere less than the KLT's.
#[test]
fn gains_are_shown_by_factor() {
    let desk = Desk::new();
    desk.json("calibrate MODEL --calib CALIB --images 64 -o m.stats");
    let gains = desk.json("inspect MODEL --gain --stats m.stats");
    let number = |of: &Value, key: &str| of[key].as_f64().expect("a number");
    let mut compared = [0; 3];
    for layer in gains["layers"].as_array().expect("layers") {
        let gain = |transform: &str, axis: &str| {
            let mut gains = layer["gains"].as_array().expect("gains").iter();
            gains.find(|g| g["transform"] == transform && g["axis"] == axis)
        };
        for (axis, compared) in ["column", "row", "kernel"].iter().zip(&mut compared) {
            if let (Some(klt), Some(elt)) = (gain("klt", axis), gain("elt", axis)) {
                let [klt_db, elt_db] = [klt, elt].map(|g| number(g, "total_db"));
                assert!(elt_db >= klt_db - 1e-9 && elt_db >= -1e-9, "{layer}");
                let parts = number(elt, "weights_db") + number(elt, "gradients_db");
                assert!((parts - elt_db).abs() < 1e-9, "{layer}");
                let bits = number(elt, "weights_bits") + number(elt, "gradients_bits");
                assert!((bits - number(elt, "bits_per_weight")).abs() < 1e-9);
                *compared += 1;
            }
        }
    }
    assert!(compared.iter().all(|&count| count > 0), "{compared:?}");
}

/// Measured curves are kept and gone on with, give the same file again, and have a page; names that clash, a size that is too small and
/// another preset leave nothing behind.
#[test]
fn measured_curves_are_kept_and_shown() {
    let desk = Desk::new();
    let line = |rest: &str| format!("compress MODEL --calib CALIB --images 8 {rest}");
    let paper = |rest: &str| line(&format!("--preset paper --blocks 1 --bits 4 {rest}"));
    desk.json(&paper(
        "--measured-curves c.csv --curves c.html -o whole.tqz",
    ));
    let points = desk.read("c.csv");
    let page = String::from_utf8(desk.read("c.html")).expect("text");
    assert!(page.contains("<svg") && page.contains("Every block at 1 to 8 bits"));
    std::fs::write(desk.path("c.csv"), &points[..points.len() * 2 / 3]).expect("cut");
    desk.json(&paper("--measured-curves c.csv -o again.tqz"));
    assert!(desk.read("c.csv") == points);
    assert_eq!(desk.read("again.tqz"), desk.read("whole.tqz"));

    let told = desk.refused(&paper("--seed 5 --measured-curves c.csv -o x.tqz"), 1);
    assert!(told.contains("c.csv"), "{told}");
    let told = desk.refused(
        &paper("--measured-curves c.csv --curves c.csv -o x.tqz --force"),
        2,
    );
    assert!(told.contains("c.csv") && desk.read("c.csv") == points);
    desk.refused(&line("--preset fast --bits 4 --curves d.html -o x.tqz"), 2);
    desk.refused(
        &line("--preset paper --blocks 1 --bits 0.01 --curves d.html -o x.tqz"),
        1,
    );
    assert!(!desk.path("x.tqz").exists() && !desk.path("d.html").exists());
}
