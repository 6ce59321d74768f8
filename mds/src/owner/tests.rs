use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use common::id::{Rank, Slot};

use super::*;

fn order(dir: &Path, dead: u64, fenced: bool) -> Appointment {
    let path = dir.display().to_string();
    Appointment { rank: Rank(1), slot: Slot(1), path, dead: Incarnation(dead), fenced }
}

fn vacancy(dir: &Path) -> Vacancy {
    match look(dir).unwrap() {
        Found::Free(vacancy) => vacancy,
        Found::Held(owner) => panic!("held by {owner:?}"),
    }
}

/// Another process that holds the lock, stopped.
struct Sleeper(Child);

impl Sleeper {
    fn hold(dir: &Path, incarnation: Option<u64>) -> Self {
        let mut claim = vacancy(dir).sign(dir, "old").unwrap();
        let child = Command::new("flock")
            .args(["--exclusive", "--no-fork"])
            .arg(dir.join(FILE_NAME))
            .args(["sleep", "60"])
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        claim.owner.process.pid = pid.as_raw_pid();
        claim.owner.process.started = started(pid).unwrap().unwrap();
        claim.owner.incarnation = incarnation;
        claim.write().unwrap();
        // It waits for our lock; then it has it.
        drop(claim);
        while matches!(look(dir).unwrap(), Found::Free(_)) {
            std::thread::yield_now();
        }
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        Self(child)
    }

    fn was_killed(&mut self) -> bool {
        self.0.wait().unwrap().signal() == Some(Signal::KILL.as_raw())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn seize_now(dir: &Path, order: &Appointment) -> Result<Claim, OwnerError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(seize(dir, "new", order))
}

#[test]
fn a_claim_is_seen_by_others_and_ends_with_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut claim = vacancy(dir).sign(dir, "a").unwrap();
    claim.record(Incarnation(3)).unwrap();
    let Found::Held(Some(owner)) = look(dir).unwrap() else { panic!("it is held") };
    assert_eq!((owner.daemon.as_str(), owner.incarnation), ("a", Some(3)));
    assert_eq!(owner.process, Process::own().unwrap());
    drop(claim);
    assert_eq!(vacancy(dir).last, Some(owner));
    vacancy(dir).sign(dir, "a").unwrap().let_go();
    assert!(matches!(look(dir).unwrap(), Found::Held(None)), "until the process has ended");
}

#[test]
fn a_stopped_process_is_killed_before_its_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut old = Sleeper::hold(folder.path(), Some(4));
    let claim = seize_now(folder.path(), &order(folder.path(), 4, false)).unwrap();
    assert!(old.was_killed());
    assert_eq!(claim.owner.daemon, "new");
}

#[test]
fn a_newer_life_is_left_alone() {
    for incarnation in [Some(5), None] {
        let folder = tempfile::tempdir().unwrap();
        let mut old = Sleeper::hold(folder.path(), incarnation);
        let error = seize_now(folder.path(), &order(folder.path(), 4, false)).unwrap_err();
        assert!(matches!(error, OwnerError::Newer { .. }), "{error}");
        assert!(old.lives());
    }
}

#[test]
fn a_process_that_only_has_the_number_is_not_harmed() {
    let mut innocent = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = Pid::from_child(&innocent);
    let began = started(pid).unwrap().unwrap();
    let process = |started| Process { pid: pid.as_raw_pid(), started, ..Process::own().unwrap() };
    assert!(!kill(&process(began - 1)).unwrap());
    assert!(innocent.try_wait().unwrap().is_none());
    assert!(kill(&process(began)).unwrap());
    innocent.wait().unwrap();
    assert!(!kill(&process(began)).unwrap(), "it is gone");
}

#[test]
fn what_another_machine_held_is_taken_on_the_operators_word_only() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut claim = vacancy(dir).sign(dir, "far").unwrap();
    claim.owner.process.machine = "elsewhere".to_owned();
    claim.write().unwrap();
    drop(claim);
    assert!(!vacancy(dir).is_safe());
    let error = seize_now(dir, &order(dir, 1, false)).unwrap_err();
    assert!(error.to_string().contains("grove mds fence"), "{error}");
    assert_eq!(seize_now(dir, &order(dir, 1, true)).unwrap().owner.daemon, "new");
}
