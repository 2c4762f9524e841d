//! The program as a user runs it: the real binary in a fresh folder.

mod desk;

use std::path::Path;
use std::process::{Command, Output};

#[cfg(unix)]
use desk::Desk;
use desk::{assets, json};
use serde_json::Value;

fn tqz(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tqz"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the program starts")
}

#[test]
fn compress_decompress_eval_and_inspect_work_together() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let here = folder.path();
    let (model, calib, test) = (
        assets("demo.onnx"),
        assets("demo-calib.toml"),
        assets("demo-test.toml"),
    );
    let [model, calib, test] = [&model, &calib, &test].map(|p| p.to_str().expect("path is text"));
    let compress = [
        "compress", model, "--calib", calib, "--images", "64", "--bits", "3", "-o", "d.tqz",
        "--json",
    ];
    let compressed = json(&tqz(here, &compress));
    let bytes = std::fs::metadata(here.join("d.tqz"))
        .expect("written")
        .len();
    assert_eq!(compressed["file_bytes"].as_u64(), Some(bytes));
    assert!(
        compressed["bits_per_weight"]
            .as_f64()
            .is_some_and(|b| b <= 3.0 && b > 2.9)
    );

    let refused = tqz(here, &compress);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));

    json(&tqz(
        here,
        &["decompress", "d.tqz", "-o", "d.onnx", "--json"],
    ));
    let eval = |file: &str| {
        let args = [
            "eval", file, "--data", test, "--ref", model, "--images", "200", "--json",
        ];
        json(&tqz(here, &args))
    };
    let (of_tqz, of_onnx) = (eval("d.tqz"), eval("d.onnx"));
    assert_eq!(of_tqz["images"], 200);
    assert_eq!(of_tqz["reference"], of_onnx["reference"]);
    assert!(
        of_tqz["top1_percent"].as_f64().is_some_and(|t| t > 80.0),
        "{of_tqz}"
    );

    let inspected = json(&tqz(here, &["inspect", "d.tqz", "--json"]));
    let parts = inspected["shares"].as_array().expect("shares").iter();
    let total: u64 = parts.map(|s| s["bytes"].as_u64().expect("bytes")).sum();
    assert_eq!(total, bytes, "every byte is accounted for");
    let original = json(&tqz(here, &["inspect", model, "--json"]));
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
    let kill = Command::new("kill")
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

    desk.refused("retrain MODEL --data CALIB", 2);
    desk.refused(
        "retrain MODEL --data CALIB --from start.tqz --rate 7 -o x.tqz",
        2,
    );
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let here = folder.path();
    let model = assets("demo.onnx");
    let model = model.to_str().expect("path is text");
    assert_eq!(
        tqz(here, &["compress", model, "--calib", "c.toml"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(tqz(here, &["eval", model]).status.code(), Some(2));
    let missing = tqz(here, &["inspect", "missing.onnx"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("missing.onnx"));
    std::fs::write(here.join("bad.onnx"), b"not a network").expect("written");
    let bad = tqz(here, &["inspect", "bad.onnx"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("bad.onnx"));
    let range = tqz(
        here,
        &["compress", model, "--calib", "c.toml", "--bits", "-1"],
    );
    assert!(!range.status.success());
    assert!(!here.join("demo.tqz").exists());
}

#[test]
fn the_demo_shows_a_true_trade_off_and_writes_a_page() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let outcome = json(&tqz(folder.path(), &["demo", "--json"]));
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
    let page = std::fs::read_to_string(folder.path().join("tqz-demo.html")).expect("page written");
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
fn assert_refused(here: &Path, file: &str) {
    let (calib, out) = (assets("demo-calib.toml"), ["-o", "out.file"]);
    let calib = calib.to_str().expect("path is text");
    let commands: [&[&str]; 4] = [
        &["inspect", file],
        &["eval", file, "--data", calib, "--images", "2"],
        &[
            "compress", file, "--calib", calib, "--images", "2", "--bits", "4", out[0], out[1],
        ],
        &["decompress", file, out[0], out[1]],
    ];
    for arguments in commands {
        let output = tqz(here, arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(
            told.starts_with("error: ") && told.contains(file) && told.trim().lines().count() == 1,
            "{arguments:?}: {told}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!here.join("out.file").exists(), "{arguments:?}");
    }
}

#[test]
fn hostile_networks_are_refused_by_every_command_with_the_file_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let here = folder.path();
    let write = |name: &str, bytes: &[u8]| std::fs::write(here.join(name), bytes).expect("written");
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
        assert_refused(here, file);
    }
    // A tensor is named once, its weights' faults too.
    let told = tqz(here, &["inspect", "dims"]).stderr;
    let told = String::from_utf8_lossy(&told).into_owned();
    assert_eq!(told.matches("tensor").count(), 1, "{told}");
}

#[test]
fn hostile_compressed_files_are_refused_by_every_command_with_the_file_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let here = folder.path();
    let (model, calib) = (assets("demo.onnx"), assets("demo-calib.toml"));
    let [model, calib] = [&model, &calib].map(|p| p.to_str().expect("path is text"));
    json(&tqz(
        here,
        &[
            "compress", model, "--calib", calib, "--images", "4", "--step", "0.1", "-o", "d.tqz",
            "--json",
        ],
    ));
    let good = std::fs::read(here.join("d.tqz")).expect("written");
    let mut file = tqz_format::TqzFile::decode(&good, &tqz_format::DecodeLimits::default())
        .expect("well-formed");
    let write = |name: &str, bytes: &[u8]| std::fs::write(here.join(name), bytes).expect("written");
    write("cut", &good[..good.len() / 2]);
    // Sound checksums, but the graph is none, or another one's.
    let graph = std::mem::take(&mut file.graph);
    file.graph = graph[..graph.len() / 2].to_vec();
    write("half", &file.encode().expect("encodable"));
    file.graph = graph;
    file.layers[0].site += 1;
    write("site", &file.encode().expect("encodable"));
    for name in ["cut", "half"] {
        assert_refused(here, name);
    }
    let told = tqz(here, &["decompress", "site", "-o", "out.onnx"]);
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(
        told.contains("site") && !here.join("out.onnx").exists(),
        "{told}"
    );
}

#[test]
fn illegal_values_are_wrong_usage_and_outputs_are_checked_first() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let here = folder.path();
    let (model, calib) = (assets("demo.onnx"), assets("demo-calib.toml"));
    let [model, calib] = [&model, &calib].map(|p| p.to_str().expect("path is text"));
    let compress = |more: &[&str]| {
        let arguments = [&["compress", model, "--calib", calib], more].concat();
        let output = tqz(here, &arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), told)
    };
    let out = ["-o", "a.tqz"];
    for (option, value) in [
        ("--bits", "-1"),
        ("--bits", "nan"),
        ("--size", "0"),
        ("--step", "-1"),
    ] {
        let (code, told) = compress(&[option, value, out[0], out[1]]);
        assert_eq!(code, Some(2), "{option} {value}: {told}");
    }
    let (code, told) = compress(&["--bits", "2", out[0], out[1], "--device", "abacus"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("--features"), "{told}");
    let (code, told) = compress(&["--bits", "2", "-o", "nowhere/a.tqz"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("no folder nowhere"), "{told}");
}

#[test]
fn forms_are_exported_run_and_timed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let here = folder.path();
    let (model, calib) = (assets("demo.onnx"), assets("demo-calib.toml"));
    let [model, calib] = [&model, &calib].map(|p| p.to_str().expect("path is text"));
    let compress = [
        "compress", model, "--calib", calib, "--images", "40", "--bits", "4", "--preset", "fast",
        "-o", "d.tqz", "--json",
    ];
    json(&tqz(here, &compress));
    for form in ["dense", "transform", "packed", "int8"] {
        let output = format!("{form}.onnx");
        let mut export = vec!["export", "d.tqz", "--form", form, "-o", &output, "--json"];
        if form == "int8" {
            export.extend(["--calib", calib, "--images", "20"]);
        }
        let exported = json(&tqz(here, &export));
        assert_eq!(exported["form"], form);
        assert_eq!(exported["int8"].is_object(), form == "int8");
    }
    let images = assets("demo-test.npz");
    let images = images.to_str().expect("path is text");
    let test = assets("demo-test.toml");
    let test = test.to_str().expect("path is text");
    let run = |network: &str, output: &str| {
        let run = [
            "run", network, "--input", images, "--card", test, "-o", output, "--json",
        ];
        json(&tqz(here, &run))
    };
    let (whole, form) = (run("d.tqz", "a.npy"), run("transform.onnx", "b.npy"));
    assert_eq!(whole["outputs"][0]["shape"], form["outputs"][0]["shape"]);
    let again = ["run", "dense.onnx", "--input", "a.npy"];
    assert_eq!(
        tqz(here, &again).status.code(),
        Some(1),
        "an output is no input"
    );
    let bench = [
        "bench",
        model,
        "d.tqz",
        "--batch",
        "1",
        "--run-threads",
        "1",
        "--seconds",
        "0",
        "--json",
    ];
    let timed = json(&tqz(here, &bench));
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
    let folder = tempfile::tempdir().expect("temporary folder");
    let export = ["export", "d.tqz", "--form", "int8", "-o", "d.onnx"];
    assert_eq!(tqz(folder.path(), &export).status.code(), Some(2));
}

#[test]
fn a_bound_on_loss_is_met_on_images_kept_back() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let here = folder.path();
    let (model, calib) = (assets("demo.onnx"), assets("demo-calib.toml"));
    let [model, calib] = [&model, &calib].map(|p| p.to_str().expect("path is text"));
    let asked = |bound: [&str; 2]| {
        let set = ["--calib", calib, "--images", "200", "--preset", "fast"];
        let mut args = vec!["compress", model, "-o", "b.tqz", "--force", "--json"];
        args.extend(set);
        args.extend(bound);
        tqz(here, &args)
    };
    let agreed = json(&asked(["--min-agreement", "90"]));
    let loss = &agreed["report"]["judged"]["loss"];
    assert!(loss.as_f64().is_some_and(|loss| loss <= 10.0), "{loss}");
    let said = agreed["judged"].as_str().expect("said in words");
    assert!(said.contains("on 40 calibration images"), "{said}");
    let dropped = json(&asked(["--max-drop", "5"]));
    let loss = &dropped["report"]["judged"]["loss"];
    assert!(loss.as_f64().is_some_and(|loss| loss <= 5.0), "{loss}");
    assert_eq!(asked(["--min-agreement", "100"]).status.code(), Some(2));
    assert_eq!(asked(["--max-drop", "0"]).status.code(), Some(2));
}

/// Rows of a CSV file, without the column of seconds, which no two runs share.
fn rows(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a table");
    let without_last = |line: &str| line.rsplit_once(',').map(|(row, _)| row.to_owned());
    text.lines().filter_map(without_last).collect()
}

#[test]
fn a_sweep_that_was_cut_off_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let here = folder.path();
    let path = |name: &str| assets(name).display().to_string().replace('\\', "/");
    let spec = format!(
        "title = \"small\"\nbits = [4.0, 2.0]\npresets = [\"fast\", \"paper\"]\ntransforms = [\"elt\"]\nmacs = [1.0, 0.9]\n\
         layer_images = 8\ngains = true\n[[network]]\nname = \"demo\"\nmodel = \"{}\"\ncalib = {{ card = \"{}\", images = 64 }}\n\
         test = {{ card = \"{}\", images = 50 }}\n",
        path("demo.onnx"),
        path("demo-calib.toml"),
        path("demo-test.toml")
    );
    std::fs::write(here.join("sweep.toml"), &spec).expect("written");
    let sweep = || json(&tqz(here, &["sweep", "sweep.toml", "-o", "out", "--json"]));
    let made = sweep();
    let made = made["points"].as_array().expect("points");
    // The paper's quantizer knows no limit of multiply–accumulates.
    assert_eq!(made.len(), 6);
    let limited = made.iter().filter(|point| point["macs_limit"] == 0.9);
    let macs: Vec<f64> = limited.filter_map(|p| p["macs_percent"].as_f64()).collect();
    assert!(
        macs.len() == 2 && macs.iter().all(|&percent| percent <= 90.0),
        "{macs:?}"
    );
    let [raw, layers, gains] =
        ["raw.csv", "layers.csv", "gains.csv"].map(|n| here.join("out").join(n));
    let [points, measured, gained] = [rows(&raw), rows(&layers), rows(&gains)];
    assert_eq!(points.len(), 7);
    assert_eq!((measured.len() - 1) % 6, 0, "every point has all layers");
    assert!(gained.len() > 8);
    let page = std::fs::read_to_string(here.join("out/index.html")).expect("a page");
    assert_eq!(page.matches("<svg").count(), 6);

    // The last point is lost while its layers are there already.
    let text = std::fs::read_to_string(&raw).expect("a table");
    let cut: Vec<&str> = text.lines().take(4).collect();
    std::fs::write(&raw, cut.join("\n") + "\n").expect("cut");
    sweep();
    assert_eq!(
        [rows(&raw), rows(&layers), rows(&gains)],
        [points, measured, gained]
    );

    // Points on other images do not go into the same table.
    std::fs::write(
        here.join("sweep.toml"),
        spec.replace("images = 50", "images = 40"),
    )
    .expect("written");
    let refused = tqz(here, &["sweep", "sweep.toml", "-o", "out"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("network demo"), "{told}");
}
