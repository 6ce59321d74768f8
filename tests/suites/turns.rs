//! One file, two mounts that take turns: each reads what the other has just written, cut or zeroed, through
//! handles that are open all the time and through new ones.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};
use rustix::fs::{FallocateFlags, fallocate};
use tests::cluster::dice::Dice;
use tests::cluster::say;

use crate::ground::{Ground, form};

const BYTES_MAX: u64 = 300_000;
const LENGTH_MAX: u64 = 20_000;
const MOVE_EVERY: u32 = 500;

/// The file as it must be.
#[derive(Debug, Default)]
struct Model(Vec<u8>);

impl Model {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[at..end].copy_from_slice(bytes);
    }

    fn zero(&mut self, at: usize, length: usize) {
        let end = (at + length).min(self.0.len());
        if at < end {
            self.0[at..end].fill(0);
        }
    }
}

fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What one does in a turn; tells what it was.
fn act(file: &File, model: &mut Model, dice: &mut Dice) -> anyhow::Result<String> {
    let (at, length) = (dice.below(BYTES_MAX), 1 + dice.below(LENGTH_MAX));
    let (from, count) = (small(at), small(length));
    Ok(match dice.below(10) {
        0..=3 => {
            let bytes = vec![u8::try_from(1 + dice.below(255))?; count];
            file.write_all_at(&bytes, at)?;
            model.write(from, &bytes);
            format!("write {length} at {at}")
        }
        4 => {
            file.set_len(at)?;
            model.0.resize(from, 0);
            format!("truncate to {at}")
        }
        5 => {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(file, flags, at, length)?;
            model.zero(from, count);
            format!("punch {length} at {at}")
        }
        6 => {
            fallocate(file, FallocateFlags::empty(), at, length)?;
            let end = model.0.len().max(from + count);
            model.0.resize(end, 0);
            format!("allocate {length} at {at}")
        }
        7 => {
            file.sync_all()?;
            "fsync".to_owned()
        }
        _ => "nothing".to_owned(),
    })
}

fn check(file: &File, model: &Model, dice: &mut Dice) -> anyhow::Result<()> {
    let size = file.metadata()?.len();
    ensure!(size == model.0.len() as u64, "it has {size} bytes, and should have {}", model.0.len());
    let at = small(dice.below(size + 1));
    let wanted = &model.0[at..(at + small(LENGTH_MAX)).min(model.0.len())];
    let mut found = vec![0; wanted.len()];
    file.read_exact_at(&mut found, at as u64)?;
    let wrong = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    ensure!(wrong.is_none(), "byte {} is wrong", at + wrong.unwrap_or(0));
    Ok(())
}

fn take_turns(ground: &Ground, dir: &Path, moves: bool) -> anyhow::Result<()> {
    let turns = form(3000, 200_000);
    let name = dir.file_name().context("a directory has a name")?;
    let paths = [dir.join("file"), ground.other.path("").join(name).join("file")];
    let open = |path: &Path| {
        File::options().read(true).write(true).create(true).truncate(false).open(path)
    };
    let mut files = [open(&paths[0])?, open(&paths[1])?];
    let (mut model, mut dice, mut moved) = (Model::default(), Dice::new(7), 0);
    for turn in 0..turns {
        let whose = small(dice.below(2));
        if dice.below(20) == 0 {
            files[whose] = open(&paths[whose])?;
        }
        let did = act(&files[whose], &mut model, &mut dice)?;
        let mount = ["one", "the other"];
        for looks in [1 - whose, whose] {
            check(&files[looks], &model, &mut dice).with_context(|| {
                format!("{}, after turn {turn} of {}: {did}", mount[looks], mount[whose])
            })?;
        }
        if moves && turn % MOVE_EVERY == 0 {
            moved += u32::from(ground.move_one(dir)?);
        }
    }
    say(format!("turns: {turns}, {moved} moves"));
    Ok(())
}

#[test]
fn each_sees_at_once_what_the_other_has_done() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    for (name, moves) in [("still", false), ("moves", true)] {
        let dir = ground.dir(name, 1)?;
        take_turns(&ground, &dir, moves)?;
        std::fs::remove_dir_all(&dir).context("remove it all")?;
    }
    ground.end()
}
