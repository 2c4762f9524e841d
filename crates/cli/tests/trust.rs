//! How far statistics are trusted, network and layer, as users see it in what a compression reports; on the demo network.

mod desk;

use desk::Desk;
use serde_json::Value;

/// The factor of all damping, and those of what the closed form says of each layer.
fn factors(desk: &Desk, options: &str) -> (f64, Vec<f64>) {
    let made = desk.json(&format!(
        "compress MODEL --calib CALIB {options} -o x.tqz --force"
    ));
    let number = |of: &Value, name: &str| of[name].as_f64().expect("a number");
    let report = &made["report"];
    let layers = report["layers"].as_array().expect("layers").iter();
    let factors = layers.map(|layer| number(layer, "distortion_factor"));
    (number(report, "damping_factor"), factors.collect())
}

/// Layers are measured only by images that nothing was learnt from, and enough of them; not at all in one pass. Statistics that
/// have seen the images kept back are not damped less by these either.
#[test]
fn layers_are_trusted_as_predicted_where_nothing_can_judge() {
    let desk = Desk::new();
    desk.json("calibrate MODEL --calib CALIB --images 400 -o seen.stats");
    for options in [
        "--images 35 --bits 3",
        "--images 400 --bits 2 --stats seen.stats",
        "--images 400 --bits 2 --preset fast",
    ] {
        let (_, layers) = factors(&desk, options);
        assert!(layers.iter().all(|f| *f == 1.0), "{options}: {layers:?}");
    }
    for preset in ["balanced", "best"] {
        let options = format!("--images 400 --bits 3 --stats seen.stats --preset {preset}");
        let (damping, _) = factors(&desk, &options);
        assert!(damping >= 1.0, "{preset}: {damping}");
    }
}

/// Measured layers differ in what they do; where damping is given, it stays as given.
#[test]
fn measured_layers_differ_and_damping_that_is_given_stays() {
    let desk = Desk::new();
    let at = |bits: &&str| factors(&desk, &format!("--images 400 --bits {bits}")).1;
    let mut tried = ["3", "2", "5"].iter().map(at);
    let found = tried.find(|layers| layers.iter().any(|f| *f != 1.0));
    assert!(found.is_some(), "better at some size on images kept back");
    let (damping, _) = factors(&desk, "--images 100 --bits 3 --damping 0.1,0.1");
    assert_eq!(damping, 1.0);
}
