use common::attr::FileKind;
use common::name::Name;
use common::wire::request::IfExists;

use super::*;
use crate::sim::operation::{Answer, Make, Seen};

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn create(at: &str) -> Operation<Ino> {
    Operation::Create {
        dir: Ino::ROOT,
        name: name(at),
        make: Make::File,
        mode: 0o644,
        existing: IfExists::Refuse,
    }
}

fn lookup(at: &str) -> Operation<Ino> {
    Operation::Lookup { dir: Ino::ROOT, name: name(at) }
}

fn unlink(at: &str) -> Operation<Ino> {
    Operation::Unlink { dir: Ino::ROOT, name: name(at) }
}

fn file(ino: u64) -> Outcome<Ino> {
    Ok(Answer::Entry { node: Ino(ino), kind: FileKind::File })
}

#[test]
fn what_overlaps_may_happen_in_either_order() {
    for found in [file(300), Err(FsError::NotFound)] {
        let mut history = History::default();
        let made = history.ask(create("a"));
        let looked = history.ask(lookup("a"));
        history.answer(looked, &found).unwrap();
        history.answer(made, &file(300)).unwrap();
    }
}

#[test]
fn what_was_answered_has_happened() {
    let mut history = History::default();
    let made = history.ask(create("a"));
    history.answer(made, &file(300)).unwrap();
    let looked = history.ask(lookup("a"));
    history.clone().answer(looked, &Err(FsError::NotFound)).unwrap_err();
    history.clone().answer(looked, &file(301)).unwrap_err();
    history.answer(looked, &file(300)).unwrap();
}

#[test]
fn what_was_seen_stays() {
    let mut history = History::default();
    let made = history.ask(create("a"));
    let looked = history.ask(lookup("a"));
    history.answer(looked, &file(300)).unwrap();
    let again = history.ask(lookup("a"));
    history.clone().answer(again, &Err(FsError::NotFound)).unwrap_err();

    history.lose_power();
    history.clone().answer(again, &file(300)).unwrap();
    history.answer(again, &Err(FsError::NotFound)).unwrap();
    history.answer(made, &file(777)).unwrap();
}

/// Its answer was on the way when the rank's power failed.
#[test]
fn what_was_seen_before_power_was_lost_may_be_undone_when_that_is_told() {
    let mut history = History::default();
    let made = history.ask(create("a"));
    let looked = history.ask(lookup("a"));
    history.lose_power();
    let again = history.ask(lookup("a"));
    history.answer(looked, &file(300)).unwrap();
    history.clone().answer(again, &file(300)).unwrap();
    history.answer(again, &Err(FsError::NotFound)).unwrap();
    history.answer(made, &file(300)).unwrap();
}

#[test]
fn of_two_that_make_one_name_one_is_refused() {
    let mut history = History::default();
    let (first, second) = (history.ask(create("a")), history.ask(create("a")));
    history.answer(second, &file(300)).unwrap();
    history.clone().answer(first, &file(301)).unwrap_err();
    history.answer(first, &Err(FsError::Exists)).unwrap();
    assert!(!history.is_open());
    assert_eq!(history.totals().into_iter().collect::<Vec<_>>(), [(0, 1)]);
}

#[test]
fn nothing_happens_twice() {
    let mut history = History::default();
    let made = history.ask(create("a"));
    history.answer(made, &file(300)).unwrap();
    let gone = history.ask(unlink("a"));
    history.answer(gone, &Ok(Answer::Done)).unwrap();
    let made = history.ask(create("a"));
    history.answer(made, &file(301)).unwrap();
    let looked = history.ask(lookup("a"));
    history.answer(looked, &Err(FsError::NotFound)).unwrap_err();
}

#[test]
fn a_rank_that_lost_power_may_not_lose_what_was_answered() {
    let mut history = History::default();
    let made = history.ask(create("a"));
    history.answer(made, &file(300)).unwrap();
    history.lose_power();
    let looked = history.ask(lookup("a"));
    history.answer(looked, &Err(FsError::NotFound)).unwrap_err();
}

#[test]
fn what_was_abandoned_happens_once_or_never() {
    let mut history = History::default();
    let made = history.ask(create("a"));
    history.abandon(made);
    let looked = history.ask(lookup("a"));
    let mut never = history.clone();
    never.answer(looked, &Err(FsError::NotFound)).unwrap();
    let looked_later = never.ask(lookup("a"));
    never.clone().answer(looked_later, &file(300)).unwrap();
    never.settle();
    never.answer(looked_later, &Err(FsError::NotFound)).unwrap();
    assert!(!never.is_open());

    history.answer(looked, &file(300)).unwrap();
    let gone = history.ask(unlink("a"));
    history.answer(gone, &Ok(Answer::Done)).unwrap();
    let again = history.ask(lookup("a"));
    history.answer(again, &file(301)).unwrap_err();
}

fn look(history: &mut History, at: &str, outcome: Outcome<Ino>) -> Result<(), Box<Unexplained>> {
    let looked = history.ask(lookup(at));
    history.answer(looked, &outcome)
}

#[test]
fn what_was_abandoned_does_not_happen_after_everything_has_settled() {
    let mut history = History::default();
    let made = history.ask(create("a"));
    history.abandon(made);
    history.settle();
    let mut never = history.clone();
    look(&mut never, "a", Err(FsError::NotFound)).unwrap();
    look(&mut never, "a", file(300)).unwrap_err();
    look(&mut history, "a", file(300)).unwrap();
    look(&mut history, "a", Err(FsError::NotFound)).unwrap_err();
}

#[test]
fn what_the_dead_did_is_lost_from_the_end() {
    let mut history = History::default();
    let made: Vec<OperationId> = [("a", 300), ("b", 301)]
        .map(|(at, ino)| {
            let made = history.ask(create(at));
            history.answer(made, &file(ino)).unwrap();
            made
        })
        .into();
    history.may_lose(&made);
    look(&mut history.clone(), "b", file(301)).unwrap();
    look(&mut history, "b", Err(FsError::NotFound)).unwrap();
    look(&mut history.clone(), "a", file(300)).unwrap();
    look(&mut history, "a", Err(FsError::NotFound)).unwrap();

    let mut history = History::default();
    let made = history.ask(create("a"));
    history.answer(made, &file(300)).unwrap();
    let later = history.ask(create("b"));
    history.answer(later, &file(301)).unwrap();
    history.may_lose(&[made, later]);
    look(&mut history, "a", Err(FsError::NotFound)).unwrap();
    look(&mut history, "b", file(301)).unwrap_err();
}

/// What one of them wrote makes no difference as long as the other's is there (`clients_and_ranks_die`
/// 51002846).
#[test]
fn what_two_have_done_is_lost_apart() {
    let seen = |size| {
        let node = Ino(300);
        let (kind, mode, nlink) = (FileKind::File, 0o644, 1);
        Ok(Answer::Attr(Seen { node, kind, mode, nlink, uid: 0, gid: 0, size }))
    };
    for (size, is_possible) in [(0, true), (1, true), (2, true), (3, false)] {
        let mut history = History::default();
        let made = history.ask(create("a"));
        history.answer(made, &file(300)).unwrap();
        let wrote = [1, 2].map(|end| {
            let wrote = history.ask(Operation::Write { node: Ino(300), end });
            history.answer(wrote, &Ok(Answer::Done)).unwrap();
            wrote
        });
        for lost in wrote {
            history.may_lose(&[lost]);
        }
        let looked = history.ask(Operation::Getattr { node: Ino(300) });
        assert_eq!(history.answer(looked, &seen(size)).is_ok(), is_possible, "{size}");
    }
}

/// It is repeated where the file was, and there it is not (`everything_goes_wrong` 65003408).
#[test]
fn what_was_done_with_what_the_dead_had_moved_may_be_lost() {
    let write = |history: &mut History| {
        let wrote = history.ask(Operation::Write { node: Ino(300), end: 7 });
        history.answer(wrote, &Ok(Answer::Done)).unwrap();
    };
    let rename = Operation::Rename {
        from_dir: Ino::ROOT,
        from: name("a"),
        to_dir: Ino::ROOT,
        to: name("b"),
        mode: common::wire::request::RenameMode::Replace,
    };
    for (moved_first, may_be_lost) in [(true, true), (false, false)] {
        let mut history = History::default();
        let made = history.ask(create("a"));
        history.answer(made, &file(300)).unwrap();
        if !moved_first {
            write(&mut history);
        }
        let renamed = history.ask(rename.clone());
        history.answer(renamed, &Ok(Answer::Done)).unwrap();
        if moved_first {
            write(&mut history);
        }
        history.may_lose(&[renamed]);
        look(&mut history, "a", file(300)).unwrap();
        let looked = history.ask(Operation::Getattr { node: Ino(300) });
        let (kind, mode, nlink) = (FileKind::File, 0o644, 1);
        let seen = Seen { node: Ino(300), kind, mode, nlink, uid: 0, gid: 0, size: 0 };
        assert_eq!(history.answer(looked, &Ok(Answer::Attr(seen))).is_ok(), may_be_lost);
    }
}

#[test]
fn what_was_refused_is_not_repeated() {
    let mut history = History::default();
    let made = history.ask(create("a"));
    history.answer(made, &file(300)).unwrap();
    let refused = history.ask(create("a"));
    history.answer(refused, &Err(FsError::Exists)).unwrap();
    history.may_lose(&[made]);
    look(&mut history, "a", Err(FsError::NotFound)).unwrap();
}

#[test]
fn what_changed_nothing_is_not_repeated() {
    let open = |at| {
        let (dir, name, make, mode) = (Ino::ROOT, name(at), Make::File, 0o644);
        Operation::Create { dir, name, make, mode, existing: IfExists::Open }
    };
    let mut history = History::default();
    let made = history.ask(create("a"));
    history.answer(made, &file(300)).unwrap();
    let opened = history.ask(open("a"));
    history.answer(opened, &file(300)).unwrap();
    history.may_lose(&[made]);
    look(&mut history, "a", Err(FsError::NotFound)).unwrap();
}
