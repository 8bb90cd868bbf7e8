//! Wall time and CPU time, measured in interleaved runs and compared as ratios.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::batch;
use crate::lanes::{Lane, SPANS, Side};

const ROUNDS: usize = 21;

/// Exports per lane and round.
const EXPORTS: u32 = 40;

/// The cost of one export.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    wall: f64,
    cpu: f64,
}

/// Runs the lanes in turn, and prints their medians and ratios.
///
/// A ratio is the median of the ratios of all rounds: the machine's other load varies between rounds, but less
/// within one.
pub(crate) fn print(lanes: &[Lane]) {
    let costs = interleaved(lanes, ROUNDS);
    let of = |case: &str, side| {
        let index = lanes.iter().position(|lane| lane.case == case && lane.side == side);
        &costs[index.expect("every case has both sides")]
    };
    print_medians(lanes, &costs);
    print_ratio_heading(ROUNDS);
    for lane in lanes.iter().filter(|lane| lane.side != Side::Ours) {
        let name = format!("{} ours / {}", lane.case, lane.side.name());
        print_ratio(&name, of(lane.case, Side::Ours), of(lane.case, lane.side));
    }
    for side in [Side::Ours, Side::HandWired] {
        for (mtls, plaintext) in [("grpc/mtls", "grpc/plaintext"), ("http/mtls", "http/plaintext")]
        {
            let name = format!("{} {mtls} / plaintext", side.name());
            print_ratio(&name, of(mtls, side), of(plaintext, side));
        }
    }
}

/// The costs of each lane, per round.
pub(crate) fn interleaved(lanes: &[Lane], rounds: usize) -> Vec<Vec<Cost>> {
    for lane in lanes {
        run(lane);
    }
    let mut costs = vec![Vec::new(); lanes.len()];
    for round in 0..rounds {
        let mut turns: Vec<_> = lanes.iter().zip(&mut costs).collect();
        // Alternates the order, so that no lane always follows the same one.
        if round % 2 == 1 {
            turns.reverse();
        }
        for (lane, costs) in turns {
            costs.push(run(lane));
        }
    }
    costs
}

/// Batches are created outside the measurement. Each export consumes and frees its batch.
fn run(lane: &Lane) -> Cost {
    let batches: Vec<_> = (0..EXPORTS).map(|_| batch::spans(SPANS)).collect();
    let (began, used) = (Instant::now(), cpu());
    for batch in batches {
        lane.export(batch);
    }
    let (wall, cpu) = (began.elapsed(), cpu() - used);
    let per_export = |time: Duration| (time / EXPORTS).as_secs_f64();
    Cost { wall: per_export(wall), cpu: per_export(cpu) }
}

/// The user and system CPU time of this process so far, on all threads.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage has no way to fail here");
    let used = usage.user_time() + usage.system_time();
    Duration::from_micros(used.num_microseconds().try_into().expect("time that has passed"))
}

pub(crate) fn print_medians(lanes: &[Lane], costs: &[Vec<Cost>]) {
    let runs = costs[0].len();
    println!("\nµs per export of {SPANS} spans, medians of {runs} runs");
    println!("{:<34}{:>9}{:>9}", "", "wall", "CPU");
    for (lane, costs) in lanes.iter().zip(costs) {
        let name = format!("{} {}", lane.case, lane.side.name());
        let wall = median(costs.iter().map(|cost| cost.wall));
        let cpu = median(costs.iter().map(|cost| cost.cpu));
        println!("{name:<34}{:>9.0}{:>9.0}", wall * 1e6, cpu * 1e6);
    }
}

pub(crate) fn print_ratio_heading(rounds: usize) {
    println!("\nratios, medians of {rounds} rounds (quartiles)");
    println!("{:<34}{:>20}{:>20}", "", "wall", "CPU");
}

pub(crate) fn print_ratio(name: &str, ours: &[Cost], theirs: &[Cost]) {
    let ratio = |part: fn(&Cost) -> f64| {
        let ratios = || ours.iter().zip(theirs).map(|(ours, theirs)| part(ours) / part(theirs));
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(ratios(), share));
        format!("{middle:.3} ({low:.3}-{high:.3})")
    };
    println!("{name:<34}{:>20}{:>20}", ratio(|cost| cost.wall), ratio(|cost| cost.cpu));
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
