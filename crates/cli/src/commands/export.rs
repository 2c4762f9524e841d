//! `tqz export`: a .tqz file as an ONNX network for a purpose: dense, fewer multiply–accumulates, eight bits, or small on disk.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use tqz::{
    Activations, Clipping, CompressedModel, FloatLayers, Form, Int8Report, Int8Spec, Progress,
};
use tqz_onnx::model::ModelProto;

use crate::Common;
use crate::commands::calibrate::load_images;
use crate::data::{DataArgs, open};
use crate::output::{
    Console, Usage, check_apart, check_free, optional, table, thousands, write_network,
};
use crate::progress::Bars;

/// Arguments of `tqz export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Compressed network
    #[arg(value_name = "M.tqz")]
    file: PathBuf,
    /// Network to write
    #[arg(short, long, value_name = "M.onnx")]
    output: PathBuf,
    /// What the network is for
    #[arg(long, value_enum, default_value_t = FormName::Transform)]
    form: FormName,
    /// Packed: newest version of the standard operators that the file may ask for (21 has integers of four bits, 25 of two)
    #[arg(long, value_name = "N", default_value_t = NEWEST_OPSET, value_parser = clap::value_parser!(i64).range(1..=1000))]
    newest_opset: i64,
    #[command(flatten)]
    int8: Int8Args,
}

/// Newest version of the standard operators that packed files ask for.
pub(crate) const NEWEST_OPSET: i64 = 25;

/// How a network is put into eight bits.
#[derive(Debug, clap::Args)]
pub(crate) struct Int8Args {
    /// Int8: card of the images that activations are measured on (no labels are used)
    #[arg(long, value_name = "CARD")]
    calib: Option<PathBuf>,
    /// Int8: element type of activations [default: uint8]
    #[arg(long, value_enum)]
    activations: Option<ActivationsName>,
    /// Int8: clip ranges to the least squared error (mse), not at all (none), or to so many per cent of the values (99.99) [default: mse]
    #[arg(long, value_name = "HOW", value_parser = parse_clipping)]
    clip: Option<Clipping>,
    /// Int8: layers that stay in floats [default: last]
    #[arg(long, value_enum)]
    float_layers: Option<FloatLayersName>,
    /// Int8: weights of seven bits, for x86 processors without VNNI
    #[arg(long)]
    seven_bits: bool,
    /// Int8: leave biases as they are
    #[arg(long)]
    no_bias_correction: bool,
    #[command(flatten)]
    from: DataArgs,
}

/// Forms by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FormName {
    /// As it was compressed: original layers and names, floats
    Dense,
    /// T and S in place of a layer where that saves multiply–accumulates, floats
    Transform,
    /// As transform, in eight bits (QuantizeLinear and DequantizeLinear); needs --calib
    Int8,
    /// Every layer dense, in eight bits; needs --calib
    Int8Dense,
    /// As transform, weights as integers of 2 to 8 bits that a runtime scales when it loads the file
    Packed,
}

impl FormName {
    /// The name as it is typed.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Transform => "transform",
            Self::Int8 => "int8",
            Self::Int8Dense => "int8-dense",
            Self::Packed => "packed",
        }
    }
}

/// Element types of activations by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ActivationsName {
    /// Unsigned with a zero point: fastest in ONNX Runtime and OpenVINO on CPUs
    Uint8,
    /// Signed and symmetric: what TensorRT takes
    Int8,
}

/// Layers by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FloatLayersName {
    /// None
    None,
    /// Those that the outputs come from
    Last,
    /// Those and the ones that read the inputs
    FirstAndLast,
}

fn parse_clipping(text: &str) -> Result<Clipping, String> {
    match (text, text.parse::<f64>()) {
        ("mse", _) => Ok(Clipping::SquaredError),
        ("none", _) => Ok(Clipping::None),
        (_, Ok(percent)) if percent > 50.0 && percent <= 100.0 => Ok(Clipping::Percentile(percent)),
        _ => Err("mse, none, or a percentage above 50 and up to 100, as in 99.99".to_owned()),
    }
}

impl Int8Args {
    fn spec(&self) -> Int8Spec {
        Int8Spec {
            activations: match self.activations {
                None | Some(ActivationsName::Uint8) => Activations::Unsigned,
                Some(ActivationsName::Int8) => Activations::Symmetric,
            },
            clipping: self.clip.unwrap_or(Clipping::SquaredError),
            float_layers: match self.float_layers {
                Some(FloatLayersName::None) => FloatLayers::None,
                None | Some(FloatLayersName::Last) => FloatLayers::Last,
                Some(FloatLayersName::FirstAndLast) => FloatLayers::FirstAndLast,
            },
            seven_bits: self.seven_bits,
            correct_biases: !self.no_bias_correction,
        }
    }

    /// Whether there are images to measure activations on.
    pub(crate) fn has_images(&self) -> bool {
        self.calib.is_some()
    }

    /// The files that are read for them.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let card = self.calib.as_deref().into_iter();
        card.chain(self.from.source.as_deref())
    }

    /// Whether these options suit the forms that are made.
    ///
    /// # Errors
    /// Eight bits without images; options that would do nothing.
    pub(crate) fn check(&self, forms: &[FormName]) -> anyhow::Result<()> {
        let needs = |form: &FormName| matches!(form, FormName::Int8 | FormName::Int8Dense);
        let needs = forms.iter().any(needs);
        if needs && self.calib.is_none() {
            let told = "--form int8 needs calibration images: give --calib CARD";
            return Err(Usage::new(told).into());
        }
        if let Some(option) = self.first_given().filter(|_| !needs) {
            let told = format!(
                "{option} is for networks in eight bits: leave it out, or give --form int8 or int8-dense (tqz bench: --forms)"
            );
            return Err(Usage::new(told).into());
        }
        Ok(())
    }

    /// The first of these options that was typed.
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--calib", self.calib.is_some()),
            ("--activations", self.activations.is_some()),
            ("--clip", self.clip.is_some()),
            ("--float-layers", self.float_layers.is_some()),
            ("--seven-bits", self.seven_bits),
            ("--no-bias-correction", self.no_bias_correction),
            ("--source", self.from.source.is_some()),
            ("--images", self.from.images.is_some()),
        ];
        given
            .iter()
            .find(|(_, given)| *given)
            .map(|(name, _)| *name)
    }
}

/// A network in a form, and how close it is in eight bits.
///
/// # Errors
/// As the library's; images that cannot be read.
pub(crate) fn exported(
    compressed: &CompressedModel,
    (form, int8, newest_opset): (FormName, &Int8Args, i64),
    seed: u64,
    progress: &dyn Progress,
) -> anyhow::Result<(ModelProto, Option<Int8Report>)> {
    let floats = match form {
        FormName::Dense => Form::Dense,
        FormName::Transform => Form::Transform,
        FormName::Packed => Form::Packed { newest_opset },
        FormName::Int8 | FormName::Int8Dense => {
            int8.check(&[form])?;
            let card: &Path = int8.calib.as_deref().unwrap_or(Path::new(""));
            let images = load_images(&open(card, &int8.from, seed)?, progress)?;
            let dense = form == FormName::Int8Dense;
            let how = (&images, &int8.spec());
            let (model, report) = compressed.export_int8(dense, how, progress)?;
            return Ok((model, Some(report)));
        }
    };
    Ok((compressed.export(floats)?, None))
}

#[derive(Debug, Serialize)]
struct Outcome {
    output: String,
    form: FormName,
    file_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    int8: Option<Int8Report>,
    seconds: f64,
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let named = [args.file.as_path(), &args.output].into_iter();
    let named = named.chain(args.int8.files());
    check_apart(named.collect(), "compressed file, card, images and output")?;
    check_free(&args.output, common.force)?;
    args.int8.check(&[args.form])?;
    let start = Instant::now();
    let bars = Bars::new(console);
    let compressed = super::read_compressed(&args.file, &bars)?;
    let how = (args.form, &args.int8, args.newest_opset);
    let (model, int8) = exported(&compressed, how, common.seed, &bars)
        .with_context(|| args.file.display().to_string())?;
    write_network(&args.output, &model, common.force)?;
    let outcome = Outcome {
        output: args.output.display().to_string(),
        form: args.form,
        file_bytes: std::fs::metadata(&args.output)?.len(),
        int8,
        seconds: start.elapsed().as_secs_f64(),
    };
    console.result(&outcome, || text(&outcome))
}

fn text(outcome: &Outcome) -> String {
    let mut text = format!(
        "{}: {} bytes, {:.1} s",
        outcome.output,
        thousands(outcome.file_bytes),
        outcome.seconds
    );
    if let Some(int8) = &outcome.int8 {
        let header = [
            "layers in 8 bits",
            "in floats",
            "images compared",
            "agreement %",
            "distance",
            "output SNR dB",
        ];
        let row = vec![
            int8.layers.to_string(),
            int8.float_layers.to_string(),
            int8.agreement.compared_images.to_string(),
            optional(int8.agreement.agreement_percent, 2),
            format!("{:.5}", int8.agreement.distance),
            format!("{:.1}", int8.agreement.output_snr_db),
        ];
        text = format!("{}\n{text}", table(&header, 0, vec![row]));
    }
    text
}
