//! Bounded fuzzing of everything that reads what a stranger wrote.
//!
//! A target is a test: it gives a [`Campaign`] a closure over bytes, and the campaign calls it with every seed of its corpus and with so many
//! mutations of them. The same seed gives the same inputs, so a failure in continuous integration is the same failure at home. There is
//! no coverage to steer by (that takes instrumented builds of a nightly compiler); what makes up for it is a corpus that has one seed
//! for each branch worth reaching, and a dictionary of the words that the format is made of.
//!
//! An input that makes the target panic is kept in `target/fuzz/TARGET/`, and the message says how to run it again. Once the fault
//! is mended, the file belongs into the corpus.
//!
//! | variable | meaning |
//! |---|---|
//! | `STECKER_FUZZ_RUNS` | mutations per target, in the place of each target's own number |
//! | `STECKER_FUZZ_SEED` | another sequence of mutations; printed at the start |
//! | `STECKER_FUZZ_INPUT` | only this file, without mutations |

mod mutate;

use std::{
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};

use crate::mutate::Mutator;

/// A target with its seeds.
#[derive(Debug)]
pub struct Campaign {
    target: &'static str,
    corpus: Vec<Vec<u8>>,
    dictionary: &'static [&'static str],
    runs: u32,
    max_len: usize,
}

impl Campaign {
    /// The campaign `target` with the files of `tests/fuzz/corpus/TARGET` as seeds.
    ///
    /// # Errors
    /// The folder cannot be read or is empty.
    pub fn new(target: &'static str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .with_context(|| format!("the corpus {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.sort();
        ensure!(!files.is_empty(), "the corpus {} is empty", folder.display());
        let corpus = files
            .iter()
            .map(|file| fs::read(file).with_context(|| format!("the seed {}", file.display())))
            .collect::<Result<_>>()?;
        Ok(Self {
            target,
            corpus,
            dictionary: &[],
            runs: 20_000,
            max_len: 4_096,
        })
    }

    /// Seeds that are made and not written down, in the place of the corpus' own.
    #[must_use]
    pub fn seeds(mut self, make: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        self.corpus = self.corpus.iter().map(|seed| make(seed)).collect();
        self
    }

    /// Words that mutations put in.
    #[must_use]
    pub fn dictionary(mut self, words: &'static [&'static str]) -> Self {
        self.dictionary = words;
        self
    }

    /// Mutations, and the bytes that an input has at most.
    #[must_use]
    pub fn bounds(mut self, runs: u32, max_len: usize) -> Self {
        self.runs = runs;
        self.max_len = max_len;
        self
    }

    /// Calls `target` with every seed and with mutations of them. It fails by panicking.
    ///
    /// # Errors
    /// A variable of the environment that is no number, or a file that cannot be read or written.
    #[expect(
        clippy::print_stdout,
        reason = "the seed and the number of runs belong into the output of a test"
    )]
    pub fn run(&self, mut target: impl FnMut(&[u8])) -> Result<()> {
        if let Some(file) = env::var_os("STECKER_FUZZ_INPUT") {
            target(&fs::read(&file).with_context(|| format!("the input {}", file.display()))?);
            return Ok(());
        }
        let runs = number("STECKER_FUZZ_RUNS")?.map_or(Ok(self.runs), u32::try_from)?;
        let seed = number("STECKER_FUZZ_SEED")?.unwrap_or(1);
        for input in &self.corpus {
            self.try_one(input, &mut target)?;
        }
        let mut random = StdRng::seed_from_u64(seed);
        let mutator = Mutator {
            dictionary: self.dictionary,
            max_len: self.max_len,
        };
        for _ in 0..runs {
            let at = random.random_range(0..self.corpus.len());
            let other = random.random_range(0..self.corpus.len());
            let (Some(base), Some(other)) = (self.corpus.get(at), self.corpus.get(other)) else {
                continue;
            };
            self.try_one(&mutator.mutate(base, other, &mut random), &mut target)?;
        }
        println!(
            "fuzz {}: {} seeds, {runs} mutations, STECKER_FUZZ_SEED={seed}",
            self.target,
            self.corpus.len()
        );
        Ok(())
    }

    fn try_one(&self, input: &[u8], target: &mut impl FnMut(&[u8])) -> Result<()> {
        let Err(panicked) = panic::catch_unwind(AssertUnwindSafe(|| target(input))) else {
            return Ok(());
        };
        let folder = target_folder().join("fuzz").join(self.target);
        fs::create_dir_all(&folder)?;
        let digest = hex::encode(Sha256::digest(input));
        let file = folder.join(digest.get(..16).unwrap_or(&digest));
        fs::write(&file, input)?;
        let message = panicked
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panicked.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        anyhow::bail!(
            "the target `{}` panicked: {message}\nthe input is {}; STECKER_FUZZ_INPUT={} runs it alone",
            self.target,
            file.display(),
            file.display()
        )
    }
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = env::var(variable) else {
        return Ok(None);
    };
    let number = text
        .parse()
        .with_context(|| format!("{variable} has to be a number, and is `{text}`"))?;
    Ok(Some(number))
}

fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    )
}
