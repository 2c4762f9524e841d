//! `tqz bench`: how long networks take, the forms of .tqz files among them, measured in turn so that all see the same machine.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use ndarray::{ArrayD, IxDyn};
use serde::Serialize;
use tqz_engine::{Dim, EngineDevice, Network, Port};
use tqz_onnx::model::ModelProto;

use crate::Common;
use crate::commands::check_elements;
use crate::commands::export::{FormName, Int8Args, NEWEST_OPSET, exported};
use crate::output::{Console, Usage, table};
use crate::progress::Bars;
use crate::runtime::{Runner, RuntimeArgs, RuntimeName, input_shape};

/// Rounds before the first one that counts.
const WARM_UP: usize = 3;
/// Rounds that count, at least and at most.
const ROUNDS: (usize, usize) = (11, 2000);

/// Images at a time where neither the user nor a network asks for others.
const BATCHES: [usize; 2] = [1, 8];

/// Arguments of `tqz bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Networks (.onnx or .tqz); times are compared with the first one's
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Forms of .tqz files (default: dense and transform; with --calib also int8 and int8-dense)
    #[arg(long, value_enum, value_delimiter = ',')]
    forms: Vec<FormName>,
    /// Images at a time [default: 1,8, or what the networks' own batch is]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Vec<u16>,
    /// Threads (of the runtime)
    #[arg(long = "run-threads", value_name = "N", value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u16).range(1..=1024))]
    run_threads: Vec<u16>,
    /// Height and width of inputs that the network leaves free
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    extent: u16,
    /// Seconds for each batch size and number of threads
    #[arg(
        long,
        value_name = "S",
        allow_negative_numbers = true,
        default_value_t = 10.0
    )]
    seconds: f64,
    #[command(flatten)]
    int8: Int8Args,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

/// Times of one network in one setting.
#[derive(Debug, Serialize)]
struct Row {
    network: String,
    form: String,
    batch: usize,
    threads: usize,
    rounds: usize,
    /// Median time of one run.
    median_ms: f64,
    /// Quartiles of the time.
    quartiles_ms: (f64, f64),
    /// Median over rounds of this time over the first network's in the same round.
    ratio: f64,
    /// Quartiles of that ratio.
    ratio_quartiles: (f64, f64),
}

#[derive(Debug, Serialize)]
struct Outcome {
    runtime: RuntimeName,
    rows: Vec<Row>,
}

struct Subject {
    network: String,
    form: String,
    model: ModelProto,
    /// The network's inputs.
    ports: Vec<Port>,
}

impl Subject {
    /// # Errors
    /// A model that is no network.
    fn new(
        (network, form): (&str, &str),
        model: ModelProto,
        device: &EngineDevice,
    ) -> anyhow::Result<Self> {
        let mut subject = Self {
            network: network.to_owned(),
            form: form.to_owned(),
            model,
            ports: Vec::new(),
        };
        let network = Network::from_model(&subject.model, device);
        let network = network.with_context(|| subject.told())?;
        subject.ports = network.inputs().to_vec();
        Ok(subject)
    }

    /// Images at a time, where the network takes only so many.
    fn batch(&self) -> Option<usize> {
        match self.ports.first()?.dims.first()? {
            &Dim::Fixed(size) => Some(size),
            _ => None,
        }
    }

    /// How it is called in messages.
    fn told(&self) -> String {
        format!("{} ({})", self.network, self.form)
    }
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let runtime = args.runtime.chosen()?;
    let device = super::device(common)?;
    if !args.seconds.is_finite() || args.seconds < 0.0 {
        let told = format!("--seconds is {}; 0 and more are legal", args.seconds);
        return Err(Usage::new(told).into());
    }
    let forms = forms(args);
    args.int8.check(&forms)?;
    let bars = Bars::new(console);
    let subjects = subjects(args, &forms, (&device, common.seed), &bars)?;
    let batches = batches(&args.batch, &subjects);
    subjects
        .iter()
        .try_for_each(|subject| check_batches(subject, &batches))?;
    let mut rows = Vec::new();
    for &threads in &args.run_threads {
        for &batch in &batches {
            let setting = (batch, usize::from(threads));
            rows.extend(measure(args, &subjects, (setting, common.seed), &device)?);
        }
    }
    let outcome = Outcome { runtime, rows };
    console.result(&outcome, || text(&outcome))
}

/// Batches that were asked for, or that of the first network which has one of its own, or [`BATCHES`].
fn batches(asked: &[u16], subjects: &[Subject]) -> Vec<usize> {
    if !asked.is_empty() {
        return asked.iter().map(|&batch| batch.into()).collect();
    }
    let own = subjects.iter().find_map(Subject::batch);
    own.map_or(BATCHES.to_vec(), |own| vec![own])
}

/// Refuses batches that a network does not take: its times would be those of another one.
fn check_batches(subject: &Subject, batches: &[usize]) -> anyhow::Result<()> {
    let Some(size) = subject.batch() else {
        return Ok(());
    };
    match batches.iter().find(|&&batch| batch != size) {
        None => Ok(()),
        Some(batch) => Err(Usage::new(format!(
            "--batch {batch}: {} takes {size} at a time alone; give --batch {size}, or leave the network out",
            subject.told()
        ))
        .into()),
    }
}

/// The networks of all files in all forms.
fn subjects(
    args: &Args,
    forms: &[FormName],
    (device, seed): (&EngineDevice, u64),
    bars: &Bars,
) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for path in &args.models {
        let network = name(path);
        if !super::starts_compressed(path)? {
            let model = tqz_onnx::read_model(path)?;
            subjects.push(Subject::new((&network, "onnx"), model, device)?);
            continue;
        }
        let compressed = super::read_compressed(path, bars)?;
        for &form in forms {
            let how = (form, &args.int8, NEWEST_OPSET);
            let (model, _) = exported(&compressed, how, seed, bars)
                .with_context(|| path.display().to_string())?;
            subjects.push(Subject::new((&network, form.text()), model, device)?);
        }
    }
    Ok(subjects)
}

fn forms(args: &Args) -> Vec<FormName> {
    if !args.forms.is_empty() {
        return args.forms.clone();
    }
    let mut forms = vec![FormName::Dense, FormName::Transform];
    if args.int8.has_images() {
        forms.extend([FormName::Int8, FormName::Int8Dense]);
    }
    forms
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A loaded network with its inputs, and what it is called in messages.
struct Ready {
    runner: Box<dyn Runner>,
    inputs: Vec<ArrayD<f32>>,
    told: String,
}

/// Runs all subjects in turn, again and again.
fn measure(
    args: &Args,
    subjects: &[Subject],
    ((batch, threads), seed): ((usize, usize), u64),
    device: &EngineDevice,
) -> anyhow::Result<Vec<Row>> {
    let ready = |subject: &Subject| -> anyhow::Result<Ready> {
        let told = subject.told();
        let inputs = inputs(&subject.ports, (batch, args.extent.into()), seed);
        let inputs = inputs.with_context(|| told.clone())?;
        let runner = args.runtime.load(&subject.model, (device, threads));
        let runner = runner.with_context(|| told.clone())?;
        Ok(Ready {
            runner,
            inputs,
            told,
        })
    };
    let mut ready: Vec<Ready> = subjects.iter().map(ready).collect::<Result<_, _>>()?;
    let times = times(&mut ready, args.seconds)?;
    let row =
        |(subject, own): (&Subject, &Vec<f64>)| row((subject, own), &times[0], (batch, threads));
    Ok(subjects.iter().zip(&times).map(row).collect())
}

/// Milliseconds of every network in every round that counts.
fn times(ready: &mut [Ready], seconds: f64) -> anyhow::Result<Vec<Vec<f64>>> {
    let count = ready.len();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); count];
    let mut start = Instant::now();
    for round in 0..WARM_UP + ROUNDS.1 {
        if round == WARM_UP {
            start = Instant::now();
        }
        let enough = round >= WARM_UP + ROUNDS.0;
        if enough && start.elapsed().as_secs_f64() > seconds {
            break;
        }
        for turn in 0..count {
            let index = turn_of((round, turn), count);
            let one = &mut ready[index];
            let before = Instant::now();
            let outputs = one.runner.run(&one.inputs);
            outputs.with_context(|| one.told.clone())?;
            let elapsed = before.elapsed().as_secs_f64();
            if round >= WARM_UP {
                times[index].push(1e3 * elapsed);
            }
        }
    }
    Ok(times)
}

/// Whose turn it is: another one begins each round, and every other turn of all runs backwards, so that none always follows the same.
fn turn_of((round, turn): (usize, usize), count: usize) -> usize {
    let place = (turn + round) % count;
    let backwards = (round / count) % 2 == 1;
    if backwards { count - 1 - place } else { place }
}

/// What is told of a network's times beside those of the first.
fn row((subject, own): (&Subject, &[f64]), first: &[f64], (batch, threads): (usize, usize)) -> Row {
    let ratios: Vec<f64> = own
        .iter()
        .zip(first)
        .map(|(own, first)| own / first)
        .collect();
    let (low, median, high) = quartiles(own);
    let (ratio_low, ratio, ratio_high) = quartiles(&ratios);
    Row {
        network: subject.network.clone(),
        form: subject.form.clone(),
        batch,
        threads,
        rounds: own.len(),
        median_ms: median,
        quartiles_ms: (low, high),
        ratio,
        ratio_quartiles: (ratio_low, ratio_high),
    }
}

/// Inputs of a network with numbers spread like those of normalised images.
fn inputs(
    ports: &[Port],
    (batch, extent): (usize, usize),
    seed: u64,
) -> anyhow::Result<Vec<ArrayD<f32>>> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut uniform = move || {
        // Any numbers do; these are the high bits of Knuth's linear congruential generator.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 24) as f32
    };
    let shapes = ports.iter().map(|port| input_shape(port, batch, extent));
    let fill = |shape: Vec<usize>| {
        check_elements(&shape)?;
        Ok(ArrayD::from_shape_fn(IxDyn(&shape), |_| {
            4.0 * uniform() - 2.0
        }))
    };
    shapes.map(fill).collect()
}

/// Lower quartile, median, upper quartile.
fn quartiles(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = part * (sorted.len().saturating_sub(1)) as f64;
        sorted
            .get(place.round() as usize)
            .copied()
            .unwrap_or(f64::NAN)
    };
    (at(0.25), at(0.5), at(0.75))
}

fn text(outcome: &Outcome) -> String {
    let header = [
        "network",
        "form",
        "batch",
        "threads",
        "median ms",
        "quartiles ms",
        "ratio",
        "quartiles",
        "rounds",
    ];
    let rows = outcome.rows.iter().map(|row| {
        vec![
            row.network.clone(),
            row.form.clone(),
            row.batch.to_string(),
            row.threads.to_string(),
            format!("{:.3}", row.median_ms),
            format!("{:.3}–{:.3}", row.quartiles_ms.0, row.quartiles_ms.1),
            format!("{:.3}", row.ratio),
            format!("{:.3}–{:.3}", row.ratio_quartiles.0, row.ratio_quartiles.1),
            row.rounds.to_string(),
        ]
    });
    let table = table(&header, 2, rows.collect());
    format!(
        "{table}\nratio: median over rounds of the time over the first network's in the same round"
    )
}

#[cfg(test)]
mod tests {
    use super::{quartiles, turn_of};

    #[test]
    fn every_network_has_its_turn_and_none_always_follows_the_same() {
        let round = |round| [0, 1, 2].map(|turn| turn_of((round, turn), 3));
        let rounds: Vec<[usize; 3]> = (0..6).map(round).collect();
        for round in &rounds {
            let mut sorted = *round;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
        }
        let follows = |a, b| {
            rounds
                .iter()
                .filter(|r| r.windows(2).any(|w| w == [a, b]))
                .count()
        };
        assert_eq!(follows(0, 1), follows(1, 0));
        assert_eq!(follows(1, 2), follows(2, 1));
    }

    #[test]
    fn quartiles_are_those_of_the_sorted_times() {
        assert_eq!(quartiles(&[5.0, 1.0, 3.0, 2.0, 4.0]), (2.0, 3.0, 4.0));
    }
}
