//! The file that training begins from: one that was given, one compressed here, or one given whose bits are allocated anew.

use std::path::Path;

use anyhow::{Context, bail};
use tqz::{CompressedModel, EncoderConfig, Images, PaperSpec, RateTarget, Source, TrainingSet};

use super::Args;
use crate::commands::calibrate::Measurement;
use crate::commands::names::Preset;
use crate::commands::read;
use crate::output::{usage, write_file};
use crate::progress::Bars;

/// Images of the training set by which a start is compressed, at most.
const START_IMAGES: usize = 1024;
/// The same for networks of at least [`MANY_WEIGHTS`] weights, whose statistics have more unknowns (AlexNet at .2 bits: .0345 → .0315 nats).
const MORE_START_IMAGES: usize = 4096;
const MANY_WEIGHTS: u64 = 2_000_000;

/// The bytes that training begins from. What is compressed here is kept at `kept`, where a run that goes on finds it.
pub(super) fn start_file(
    args: &Args,
    training: (&Source, &TrainingSet),
    (kept, seed): (&Path, u64),
    bars: &Bars,
) -> anyhow::Result<Vec<u8>> {
    match &args.from {
        Some(path) if !args.reallocate => return read(path),
        _ if args.resume && kept.exists() => return read(kept),
        _ => {}
    }
    let bytes = compressed(args, training, seed, bars)?;
    write_file(kept, &bytes, true)?;
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
