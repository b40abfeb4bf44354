//! The command line. Exit codes: 0 done (an import with rejected rows counts as done), 1 failed, 2 wrong usage or
//! configuration, 3 the data folder is in use or cannot be opened, 4 a model is missing or damaged.

mod bench;
mod config;
mod demo;
mod doctor;
mod embed;
mod eval;
mod export;
mod gpu;
mod import;
mod model;
mod serve;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use registry::Loaded;

use crate::config::Config;
use crate::output::Output;

/// A self-hosted retail appliance: product feeds and shopper events in; visual search, text search and recommendations out.
#[derive(Parser)]
#[command(
    name = "gotham",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 data folder in use or unusable, 4 model missing or damaged."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// Flags that every command takes.
#[derive(Clone, Args)]
struct Common {
    /// Folder that holds all state [default: the user's data folder]
    #[arg(long, global = true, value_name = "DIR", env = "GOTHAM_DATA")]
    data: Option<PathBuf>,
    /// Configuration file (TOML); the defaults are compiled in
    #[arg(long, global = true, value_name = "FILE", env = "GOTHAM_CONFIG")]
    config: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Folder that holds the model files [default: `models` in the data folder]
    #[arg(long, global = true, value_name = "DIR", env = "GOTHAM_MODELS")]
    models_dir: Option<PathBuf>,
    /// Print one JSON object per result line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the appliance
    Serve,
    /// Pull models and a demo catalog, import it, serve it and print the store's address
    Demo,
    /// Import a product feed and wait until it is searchable
    Import(import::ImportArgs),
    /// Embed pictures (files) and texts
    Embed(embed::EmbedArgs),
    /// Install and check models
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Measure how fast a part is on this machine
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Name the files that hold data for other programs
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Measure how good the answers are
    #[command(subcommand)]
    Eval(eval::EvalCommand),
    /// Say what the graphics device is, which kernels it runs and how fast
    Gpu(gpu::GpuArgs),
    /// Look at the machine and the data folder and say what is wrong
    Doctor,
}

/// A failure and the exit code that stands for it.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// The work failed.
    pub const FAILED: u8 = 1;
    /// Wrong usage or configuration.
    pub const USAGE: u8 = 2;
    /// The data folder is in use or cannot be opened.
    pub const DATA: u8 = 3;
    /// A model is missing or damaged.
    pub const MODEL: u8 = 4;

    fn new(code: u8, error: impl fmt::Display) -> Self {
        Self { code, error: anyhow::anyhow!("{error}") }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { code: Self::FAILED, error: error.into() }
    }
}

type Outcome = Result<(), Failure>;

impl Common {
    fn output(&self) -> Output {
        Output::new(self.json)
    }

    /// Where state is kept.
    fn data_dir(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(crate::config::default_data_dir)
    }

    fn models_dir(&self) -> PathBuf {
        self.models_dir.clone().unwrap_or_else(|| self.data_dir().join("models"))
    }

    /// The configuration in force; nothing has been opened yet.
    fn load(&self) -> Result<Loaded<Config>, Failure> {
        let listen = self.listen.iter().map(|listen| ("gateway.listen".to_owned(), listen.clone())).collect();
        crate::config::load(self.config.as_deref(), std::env::vars().collect(), listen).map_err(|error| Failure::new(Failure::USAGE, error))
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_service = std::env::var_os("JOURNAL_STREAM").is_some() || std::env::var_os("NOTIFY_SOCKET").is_some();
    let level = if matches!(cli.command, Command::Serve) { "info" } else { "warn" };
    crate::telemetry::start_log(level, is_service);
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if cli.common.json {
                cli.common
                    .output()
                    .result(&serde_json::json!({"error": failure.error.to_string(), "exit_code": failure.code}), String::new);
            }
            eprintln!("gotham: {:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: &Cli) -> Outcome {
    let common = &cli.common;
    match &cli.command {
        Command::Serve => block_on(serve::serve(common)),
        Command::Demo => block_on(demo::demo(common)),
        Command::Import(args) => block_on(import::import(common, args)),
        Command::Embed(args) => embed::embed(common, args),
        Command::Model(command) => model::model(common, command),
        Command::Config(command) => config::config(common, command),
        Command::Bench(command) => bench::bench(common, command),
        Command::Export(command) => export::export(common, command),
        Command::Eval(command) => block_on(eval::eval(common, command)),
        Command::Gpu(args) => gpu::gpu(common, args),
        Command::Doctor => doctor::doctor(common),
    }
}

fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
