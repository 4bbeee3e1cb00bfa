//! Open-loop load for the perf suite: a fixed arrival rate, latency from the scheduled moment, JSON on standard output.
//!
//! A closed loop waits for an answer before it asks again, so that a server which stalls is asked less and looks good.
//! Visitors do not wait for each other. There is one all the same (`closed.rs`), for what a request costs: no other
//! generator at hand speaks HTTP/3. See `plan.rs` for the command line and `tally.rs` for what is reported.

mod closed;
mod h1;
mod h2;
mod h3;
mod histogram;
mod link;
mod plan;
mod run;
mod tally;

use std::process::ExitCode;

fn main() -> ExitCode {
    let plan = match plan::Plan::parse(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime of one thread");
    match runtime.block_on(run::run(plan)) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the load could not begin: {error}");
            ExitCode::FAILURE
        }
    }
}
