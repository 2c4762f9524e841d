//! How far statistics are trusted, network and layer, as users see it in what a compression reports; on the demo network.

mod desk;

use desk::Desk;
use serde_json::Value;

/// The factor of all damping, and those of all layers, damping and distortion, beside it.
fn factors(desk: &Desk, options: &str) -> (f64, Vec<(f64, f64)>) {
    let made = desk.json(&format!(
        "compress MODEL --calib CALIB {options} -o x.tqz --force"
    ));
    let number = |of: &Value, name: &str| of[name].as_f64().expect("a number");
    let all = number(&made["report"], "damping_factor");
    let layers = made["report"]["layers"].as_array().expect("layers");
    let factors = layers.iter().map(|layer| {
        let damping = number(layer, "damping_factor") / all;
        (damping, number(layer, "distortion_factor"))
    });
    (all, factors.collect())
}

/// Layers are measured only by images that nothing was learnt from, and enough of them; not at all in one pass. Statistics that have
/// seen the images kept back are not damped less by these either.
#[test]
fn layers_are_trusted_as_predicted_where_nothing_can_judge() {
    let desk = Desk::new();
    desk.json("calibrate MODEL --calib CALIB --images 400 -o seen.stats");
    for options in [
        "--images 35 --bits 3",
        "--images 400 --bits 2 --stats seen.stats",
        "--images 400 --bits 2 --preset fast",
    ] {
        let (all, layers) = factors(&desk, options);
        assert!(
            layers.iter().all(|f| *f == (1.0, 1.0)),
            "{options}: {layers:?}"
        );
        assert!(all >= 1.0 || !options.contains("seen"), "{options}: {all}");
    }
}

/// Measured layers differ in what they do; where damping is given, it stays as given.
#[test]
fn measured_layers_differ_and_damping_that_is_given_stays() {
    let desk = Desk::new();
    let at = |bits: &&str| factors(&desk, &format!("--images 400 --bits {bits}")).1;
    let mut tried = ["3", "2", "5"].iter().map(at);
    let own = tried.find(|own| own.iter().any(|f| f.1 != 1.0));
    let own = own.expect("better on the images kept back at some size");
    assert!(own.iter().all(|f| f.0 >= 1.0), "{own:?}");
    let (all, given) = factors(&desk, "--images 100 --bits 3 --damping 0.1,0.1");
    assert!(all == 1.0 && given.iter().all(|f| f.0 == 1.0), "{given:?}");
}
