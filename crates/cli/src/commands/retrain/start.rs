//! The file that training begins from: one that was given, one compressed here, or one given whose bits are allocated anew.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tqz::{CompressedModel, EncoderConfig, Images, PaperSpec, RateTarget, Source, TrainingSet};

use super::Args;
use crate::commands::calibrate::Measurement;
use crate::commands::names::Preset;
use crate::commands::network_files::{add_file, network_files};
use crate::commands::read;
use crate::output::{usage, write_file};
use crate::progress::Bars;

/// Images of the training set by which a start is compressed, at most.
const START_IMAGES: usize = 1024;
/// The same for networks of at least [`MANY_WEIGHTS`] weights, whose statistics have more unknowns (AlexNet at .2 bits: .0345 → .0315 nats).
const MORE_START_IMAGES: usize = 4096;
const MANY_WEIGHTS: u64 = 2_000_000;

/// Where what is compressed here is kept, beside the checkpoint: its name has a checksum of all that the file is made of, so that a
/// start made otherwise is not found. None where training begins from a file that was given.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn kept_start(
    args: &Args,
    checkpoint: &Path,
    seed: u64,
) -> anyhow::Result<Option<PathBuf>> {
    if !args.makes_start() {
        return Ok(None);
    }
    let mut sum = crc32fast::Hasher::new();
    let preset = args.preset.unwrap_or(Preset::Balanced);
    let images = (&args.images.source, args.images.images);
    let asked = (args.bits, args.size, preset, args.reallocate, seed);
    sum.update(format!("{asked:?} {images:?}").as_bytes());
    let files = network_files(&args.model)?.into_iter();
    let files = files.chain([args.data.clone()]).chain(args.from.clone());
    for file in files {
        add_file(&mut sum, &file)?;
    }
    let ending = format!("start-{:08x}.tqz", sum.finalize());
    Ok(Some(checkpoint.with_extension(ending)))
}

/// The bytes that training begins from: those of the file given, or what is compressed here and kept at `kept`, where a run that goes on
/// finds it.
pub(super) fn start_file(
    args: &Args,
    training: (&Source, &TrainingSet),
    (kept, seed): (Option<&Path>, u64),
    bars: &Bars,
) -> anyhow::Result<Vec<u8>> {
    match (kept, &args.from) {
        (None, Some(given)) => return read(given),
        (Some(kept), _) if args.resume && kept.exists() => return read(kept),
        _ => {}
    }
    let bytes = compressed(args, training, seed, bars)?;
    if let Some(kept) = kept {
        write_file(kept, &bytes, true)?;
    }
    Ok(bytes)
}

/// The best file before training, from the first images: of the network, or of the weights that a file holds of it.
fn compressed(
    args: &Args,
    (source, set): (&Source, &TrainingSet),
    seed: u64,
    bars: &Bars,
) -> anyhow::Result<Vec<u8>> {
    let from = args.from.as_deref().map(read).transpose()?;
    let target = match (args.bits, args.size, &from) {
        (Some(bits), _, _) => RateTarget::BitsPerWeight(bits),
        (_, Some(bytes), _) => RateTarget::Bytes(bytes),
        (_, _, Some(from)) => RateTarget::Bytes(from.len() as u64),
        _ => bail!("one of --bits and --size is needed"),
    };
    let shown = args.from.as_deref().unwrap_or(&args.model).display();
    let held = match &from {
        Some(bytes) => Some(held(bytes, source).with_context(|| shown.to_string())?),
        None => None,
    };
    let source = held.as_ref().unwrap_or(source);
    let preset = args.preset.unwrap_or(Preset::Balanced);
    let config = EncoderConfig {
        effort: preset.into(),
        paper: preset.paper(PaperSpec::default()),
        seed,
        ..EncoderConfig::new(target)
    };
    config.check().map_err(usage)?;
    let images: Images = set.some_images(match source.weight_count() {
        MANY_WEIGHTS.. => MORE_START_IMAGES,
        _ => START_IMAGES,
    });
    let statistics = images.calibrate(source, (Measurement::default().metric, seed), bars)?;
    let (bytes, _) = tqz::compress(source, &statistics, Some(&images), &config, bars)
        .with_context(|| shown.to_string())?;
    Ok(bytes)
}

/// The network with the weights that a file holds of it.
fn held(bytes: &[u8], source: &Source) -> anyhow::Result<Source> {
    let model = CompressedModel::decode(bytes)?.to_model()?;
    Ok(Source::new(model, source.network().device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::retrain::testing::{args, assets};

    fn name(model: &Path, more: &str, seed: u64) -> PathBuf {
        let card = assets("demo-calib.toml");
        let (model, card) = (model.display().to_string(), card.display().to_string());
        let args = args((&model, &card), more);
        let kept = kept_start(&args, Path::new("a/m.checkpoint"), seed);
        kept.expect("named").expect("made")
    }

    #[test]
    fn starts_made_otherwise_have_other_names() {
        let folder = tempfile::tempdir().expect("folder");
        let model = folder.path().join("m.onnx");
        std::fs::copy(assets("demo.onnx"), &model).expect("copied");
        let mut names = vec![name(&model, "--bits 2", 0)];
        assert_eq!(
            names[0],
            name(&model, "--bits 2 --preset balanced --steps 3", 0)
        );
        let shown = names[0].display().to_string();
        assert!(
            shown.starts_with("a/m.start-") && shown.ends_with(".tqz"),
            "{shown}"
        );
        names.push(name(&model, "--bits 2", 1));
        for more in [
            "--bits 3",
            "--size 3",
            "--bits 2 --preset fast",
            "--bits 2 --images 9",
        ] {
            names.push(name(&model, more, 0));
        }
        let from = folder.path().join("from.tqz");
        let reallocate = format!("--from {} --reallocate", from.display());
        for held in ["a", "b"] {
            std::fs::write(&from, held).expect("written");
            names.push(name(&model, &reallocate, 0));
        }
        let mut other = tqz_onnx::read_model(&model).expect("readable");
        other.doc_string = Some("another".to_owned());
        std::fs::write(&model, tqz_onnx::encode_model(&other)).expect("written");
        names.push(name(&model, "--bits 2", 0));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }
}
