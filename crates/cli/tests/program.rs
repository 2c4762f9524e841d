//! The program as a user runs it: the real binary in a fresh folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn assets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../assets")
        .join(name)
}

fn tqz(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tqz"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the program starts")
}

fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("stdout is one JSON object")
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
