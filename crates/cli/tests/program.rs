//! The program as a user runs it: the real binary in a fresh folder.

mod desk;

use desk::{Desk, assets, json};
use serde_json::Value;

#[test]
fn compress_decompress_eval_and_inspect_work_together() {
    let desk = Desk::new();
    let compress = "compress MODEL --calib CALIB --images 64 --bits 3 -o d.tqz";
    let compressed = desk.json(compress);
    let bytes = desk.read("d.tqz").len() as u64;
    assert_eq!(compressed["file_bytes"].as_u64(), Some(bytes));
    assert!(
        compressed["bits_per_weight"]
            .as_f64()
            .is_some_and(|b| b <= 3.0 && b > 2.9)
    );

    let told = desk.refused(&format!("{compress} --json"), 1);
    assert!(told.contains("--force"));

    desk.json("decompress d.tqz -o d.onnx");
    let eval = |file: &str| desk.json(&format!("eval {file} --data TEST --ref MODEL --images 200"));
    let (of_tqz, of_onnx) = (eval("d.tqz"), eval("d.onnx"));
    assert_eq!(of_tqz["images"], 200);
    assert_eq!(of_tqz["reference"], of_onnx["reference"]);
    assert!(
        of_tqz["top1_percent"].as_f64().is_some_and(|t| t > 80.0),
        "{of_tqz}"
    );

    let inspected = desk.json("inspect d.tqz");
    let parts = inspected["shares"].as_array().expect("shares").iter();
    let total: u64 = parts.map(|s| s["bytes"].as_u64().expect("bytes")).sum();
    assert_eq!(total, bytes, "every byte is accounted for");
    let original = desk.json("inspect MODEL");
    let names = |v: &Value| -> Vec<String> {
        let layers = v["layers"].as_array().expect("layers").iter();
        layers.map(|l| l["name"].to_string()).collect()
    };
    assert_eq!(names(&inspected), names(&original));
}

/// Compresses, trains and logs; goes on from a checkpoint after Ctrl-C to the same bytes.
#[test]
#[cfg(unix)]
fn retraining_goes_on_where_it_was_stopped() {
    let desk = Desk::new();
    desk.json("compress MODEL --calib CALIB --images 64 --preset fast --bits 1.5 -o start.tqz");
    let line = |name: &str| {
        format!(
            "retrain MODEL --data CALIB --images 96 --from start.tqz --steps 60 --batch 16 --rate 0.05 -o {name}.tqz --log {name}.csv"
        )
    };
    let whole = desk.json(&line("whole"));
    let loss = |when: &str| whole[when]["loss"].as_f64().expect("a number");
    assert!(loss("held_after") < loss("held_before"), "{whole}");
    assert!(whole["file_bytes"].as_u64() <= whole["start_bytes"].as_u64());

    let mut running = desk.command(&line("cut"));
    let mut running = running
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let lines = |log: std::io::Result<String>| log.map_or(0, |log| log.lines().count());
    while lines(std::fs::read_to_string(desk.path("cut.csv"))) < 3 {
        assert!(
            running.try_wait().expect("asked").is_none(),
            "it ended before it could be stopped"
        );
        std::thread::yield_now();
    }
    let kill = std::process::Command::new("kill")
        .args(["-INT", &running.id().to_string()])
        .status();
    assert!(kill.expect("kill runs").success());
    assert_eq!(running.wait().expect("ends").code(), Some(130));
    assert!(desk.path("cut.checkpoint").exists() && !desk.path("cut.tqz").exists());
    desk.json(&format!("{} --resume", line("cut")));
    assert_eq!(desk.read("cut.tqz"), desk.read("whole.tqz"));
    assert!(!desk.path("cut.checkpoint").exists());
    let log = String::from_utf8(desk.read("cut.csv")).expect("text");
    let last = log.lines().filter(|line| line.starts_with("60,"));
    assert_eq!(last.count(), 2);

    // Bits allocated anew for trained weights: still a file of the same network and size, which --resume begins, too.
    let anew = "retrain MODEL --data CALIB --images 96 --from whole.tqz --reallocate --preset fast --steps 4 --batch 16 -o anew.tqz --resume";
    let anew = desk.json(anew);
    assert!(anew["file_bytes"].as_u64() <= whole["file_bytes"].as_u64());
    assert_ne!(desk.read("anew.tqz"), desk.read("whole.tqz"));
    assert!(!desk.holds("anew.start"));

    desk.refused("retrain MODEL --data CALIB", 2);
    desk.refused(
        "retrain MODEL --data CALIB --from start.tqz --preset fast -o x.tqz",
        2,
    );
    desk.refused(
        "retrain MODEL --data CALIB --from start.tqz --rate 7 -o x.tqz",
        2,
    );
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    let desk = Desk::new();
    desk.refused("compress MODEL --calib c.toml", 2);
    desk.refused("eval MODEL", 2);
    let missing = desk.refused("inspect missing.onnx", 1);
    assert!(missing.contains("missing.onnx"));
    std::fs::write(desk.path("bad.onnx"), b"not a network").expect("written");
    let bad = desk.refused("inspect bad.onnx", 1);
    assert!(bad.contains("bad.onnx"));
    let range = desk.run("compress MODEL --calib c.toml --bits -1");
    assert!(!range.status.success());
    assert!(!desk.path("demo.tqz").exists());
}

#[test]
fn the_demo_shows_a_true_trade_off_and_writes_a_page() {
    let desk = Desk::new();
    let outcome = desk.json("demo");
    let top1 = |row: &Value| row["top1_percent"].as_f64().expect("a score");
    let full = top1(&outcome["original"]);
    let rows = outcome["compressed"].as_array().expect("three rates");
    assert_eq!(rows.len(), 3);
    assert!(full > 90.0, "{full}");
    assert!(top1(&rows[0]) > full - 2.0, "{rows:?}");
    assert!(top1(&rows[2]) < full - 2.0, "{rows:?}");
    assert!(
        rows.windows(2)
            .all(|w| w[0]["bytes"].as_u64() > w[1]["bytes"].as_u64())
    );
    let page = String::from_utf8(desk.read("tqz-demo.html")).expect("text");
    assert!(page.contains("<svg") && page.contains("full precision"));
}

/// The demo network with other bytes in its first tensor.
fn damaged_model(change: impl FnOnce(&mut tqz_onnx::model::TensorProto)) -> Vec<u8> {
    let mut model = tqz_onnx::read_model(&assets("demo.onnx")).expect("readable");
    let graph = model.graph.as_mut().expect("a graph");
    let weights = graph.initializer.iter_mut().find(|t| t.dims.len() == 4);
    change(weights.expect("a convolution"));
    tqz_onnx::encode_model(&model)
}

/// Runs every command that reads a network on a file; each must fail with one line that names it.
fn assert_refused(desk: &Desk, file: &str) {
    for line in [
        format!("inspect {file}"),
        format!("eval {file} --data CALIB --images 2"),
        format!("compress {file} --calib CALIB --images 2 --bits 4 -o out.file"),
        format!("decompress {file} -o out.file"),
    ] {
        let output = desk.run(&line);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {told}");
        assert!(
            told.starts_with("error: ") && told.contains(file) && told.trim().lines().count() == 1,
            "{line}: {told}"
        );
        assert!(output.stdout.is_empty(), "{line}");
        assert!(!desk.path("out.file").exists(), "{line}");
    }
}

#[test]
fn hostile_networks_are_refused_by_every_command_with_the_file_named() {
    let desk = Desk::new();
    let write = |name: &str, bytes: &[u8]| std::fs::write(desk.path(name), bytes).expect("written");
    write("empty", b"");
    write(
        "dims",
        &damaged_model(|t| t.dims = vec![1 << 40, 1 << 20, 3, 3]),
    );
    write("short", &damaged_model(|t| t.raw_data = Some(vec![0; 5])));
    write(
        "link",
        &damaged_model(|t| {
            t.raw_data = None;
            t.data_location = Some(1);
            t.external_data = vec![tqz_onnx::model::StringStringEntryProto {
                key: Some("location".to_owned()),
                value: Some("../../etc/passwd".to_owned()),
                ..Default::default()
            }];
        }),
    );
    for file in ["empty", "dims", "short", "link"] {
        assert_refused(&desk, file);
    }
    // A tensor is named once, its weights' faults too.
    let told = desk.refused("inspect dims", 1);
    assert_eq!(told.matches("tensor").count(), 1, "{told}");
}

#[test]
fn hostile_compressed_files_are_refused_by_every_command_with_the_file_named() {
    let desk = Desk::new();
    desk.json("compress MODEL --calib CALIB --images 4 --step 0.1 -o d.tqz");
    let good = desk.read("d.tqz");
    let mut file = tqz_format::TqzFile::decode(&good, &tqz_format::DecodeLimits::default())
        .expect("well-formed");
    let write = |name: &str, bytes: &[u8]| std::fs::write(desk.path(name), bytes).expect("written");
    write("cut", &good[..good.len() / 2]);
    // Sound checksums, but the graph is none, or another one's.
    let graph = std::mem::take(&mut file.graph);
    file.graph = graph[..graph.len() / 2].to_vec();
    write("half", &file.encode().expect("encodable"));
    file.graph = graph;
    file.layers[0].site += 1;
    write("site", &file.encode().expect("encodable"));
    for name in ["cut", "half"] {
        assert_refused(&desk, name);
    }
    let told = desk.refused("decompress site -o out.onnx", 1);
    assert!(
        told.contains("site") && !desk.path("out.onnx").exists(),
        "{told}"
    );
}

#[test]
fn illegal_values_are_wrong_usage_and_outputs_are_checked_first() {
    let desk = Desk::new();
    let refused =
        |more: &str, code: i32| desk.refused(&format!("compress MODEL --calib CALIB {more}"), code);
    for option in ["--bits -1", "--bits nan", "--size 0", "--step -1"] {
        refused(&format!("{option} -o a.tqz"), 2);
    }
    let told = refused("--bits 2 -o a.tqz --device abacus", 2);
    assert!(told.contains("--features"), "{told}");
    let told = refused("--bits 2 -o nowhere/a.tqz", 1);
    assert!(told.contains("no folder nowhere"), "{told}");
}

#[test]
fn forms_are_exported_run_and_timed() {
    let desk = Desk::new();
    desk.json("compress MODEL --calib CALIB --images 40 --bits 4 --preset fast -o d.tqz");
    for form in ["dense", "transform", "packed", "int8"] {
        let images = if form == "int8" {
            "--calib CALIB --images 20"
        } else {
            ""
        };
        let exported = desk.json(&format!(
            "export d.tqz --form {form} -o {form}.onnx {images}"
        ));
        assert_eq!(exported["form"], form);
        assert_eq!(exported["int8"].is_object(), form == "int8");
    }
    let run = |network: &str, output: &str| {
        let mut run = desk.command(&format!("run {network} --card TEST -o {output} --json"));
        run.arg("--input").arg(assets("demo-test.npz"));
        json(&run.output().expect("the program starts"))
    };
    let (whole, form) = (run("d.tqz", "a.npy"), run("transform.onnx", "b.npy"));
    assert_eq!(whole["outputs"][0]["shape"], form["outputs"][0]["shape"]);
    // An output is no input.
    desk.refused("run dense.onnx --input a.npy", 1);
    let timed = desk.json("bench MODEL d.tqz --batch 1 --run-threads 1 --seconds 0");
    let rows = timed["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["ratio"].as_f64(), Some(1.0));
    assert!(
        rows.iter()
            .all(|row| row["median_ms"].as_f64().is_some_and(|ms| ms > 0.0))
    );
}

#[test]
fn eight_bits_without_images_are_wrong_usage() {
    Desk::new().refused("export d.tqz --form int8 -o d.onnx", 2);
}

#[test]
fn a_bound_on_loss_is_met_on_images_kept_back() {
    let desk = Desk::new();
    let line = |bound: &str| {
        format!("compress MODEL -o b.tqz --force --calib CALIB --images 200 --preset fast {bound}")
    };
    let agreed = desk.json(&line("--min-agreement 90"));
    let loss = &agreed["report"]["judged"]["loss"];
    assert!(loss.as_f64().is_some_and(|loss| loss <= 10.0), "{loss}");
    let said = agreed["judged"].as_str().expect("said in words");
    assert!(said.contains("on 40 calibration images"), "{said}");
    let dropped = desk.json(&line("--max-drop 5"));
    let loss = &dropped["report"]["judged"]["loss"];
    assert!(loss.as_f64().is_some_and(|loss| loss <= 5.0), "{loss}");
    desk.refused(&line("--min-agreement 100"), 2);
    desk.refused(&line("--max-drop 0"), 2);
}

/// A small sweep over the demo.
fn small_sweep() -> String {
    let path = |name: &str| assets(name).display().to_string().replace('\\', "/");
    format!(
        "title = \"small\"\nbits = [4.0, 2.0]\npresets = [\"fast\", \"paper\"]\ntransforms = [\"elt\"]\nmacs = [1.0, 0.9]\n\
         layer_images = 8\ngains = true\n[[network]]\nname = \"demo\"\nmodel = \"{}\"\ncalib = {{ card = \"{}\", images = 64 }}\n\
         test = {{ card = \"{}\", images = 50 }}\n",
        path("demo.onnx"),
        path("demo-calib.toml"),
        path("demo-test.toml")
    )
}

/// Rows of the sweep's tables, without the column of seconds, which no two runs share.
fn tables(desk: &Desk) -> [Vec<String>; 3] {
    let without_last = |line: &str| line.rsplit_once(',').map(|(row, _)| row.to_owned());
    ["raw.csv", "layers.csv", "gains.csv"].map(|name| {
        let text = String::from_utf8(desk.read(&format!("out/{name}"))).expect("text");
        text.lines().filter_map(without_last).collect()
    })
}

#[test]
fn a_sweep_that_was_cut_off_goes_on_where_it_stopped() {
    let desk = Desk::new();
    let spec = small_sweep();
    std::fs::write(desk.path("sweep.toml"), &spec).expect("written");
    let sweep = "sweep sweep.toml -o out";
    let made = desk.json(sweep);
    let made = made["points"].as_array().expect("points");
    // The paper's quantizer knows no limit of multiply–accumulates.
    assert_eq!(made.len(), 6);
    let limited = made.iter().filter(|point| point["macs_limit"] == 0.9);
    let macs: Vec<f64> = limited.filter_map(|p| p["macs_percent"].as_f64()).collect();
    assert!(
        macs.len() == 2 && macs.iter().all(|&percent| percent <= 90.0),
        "{macs:?}"
    );
    let whole = tables(&desk);
    let [points, measured, gained] = &whole;
    assert_eq!(points.len(), 7);
    assert_eq!((measured.len() - 1) % 6, 0, "every point has all layers");
    assert!(gained.len() > 8);
    let page = String::from_utf8(desk.read("out/index.html")).expect("text");
    assert_eq!(page.matches("<svg").count(), 6);

    // The last point is lost while its layers are there already.
    let text = String::from_utf8(desk.read("out/raw.csv")).expect("text");
    let cut: Vec<&str> = text.lines().take(4).collect();
    std::fs::write(desk.path("out/raw.csv"), cut.join("\n") + "\n").expect("cut");
    desk.json(sweep);
    assert_eq!(tables(&desk), whole);

    // Points on other images do not go into the same table.
    let other = spec.replace("images = 50", "images = 40");
    std::fs::write(desk.path("sweep.toml"), other).expect("written");
    let told = desk.refused(sweep, 1);
    assert!(told.contains("network demo"), "{told}");
}
