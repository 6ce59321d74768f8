//! Operations of several requests; the test plays the ranks.

use common::attr::{FileKind, SetAttr};
use common::id::{Rank, Seq};
use common::wire::reply::{Outcome, Page, PageEnd, PageEntry};
use common::wire::session::ToClient;

use super::*;
use crate::fixture::{Fixture, R0, R1, R2, attr, create, dir_here, file, here, name};
use crate::input::{Input, ListDetail, Listed, References};

fn dir_attr(ino: u64) -> Attr {
    attr(ino, FileKind::Dir)
}

fn dir_elsewhere(ino: u64, rank: Rank) -> Found {
    Found::Dir { ino: Ino(ino), rank, attr: None }
}

fn link_elsewhere(ino: u64, rank: Rank) -> Found {
    Found::Remote { ino: Ino(ino), kind: FileKind::File, rank, attr: None }
}

fn answer(answer: Answer) -> Outcome {
    Outcome::Done(answer)
}

#[test]
fn a_lookup_asks_the_authority_of_a_directory_for_its_attributes() {
    let mut world = Fixture::new();
    let call = world.call(Call::Lookup { dir: Ino(1), name: name("d") });
    world.serve(R0, answer(Answer::Found(dir_elsewhere(10, R2))));
    let asked = world.serve(R2, answer(Answer::Attr(dir_attr(10))));
    assert_eq!(asked.op, Op::Getattr { target: Target::dir(Ino(10)) });
    assert_eq!(world.answer(call), Ok(Done::Entry(dir_attr(10))));
}

#[test]
fn a_lookup_asks_the_home_of_a_hard_link() {
    let mut world = Fixture::new();
    let ino = Ino::new(common::id::Slot(2), 0x500);
    let call = world.call(Call::Lookup { dir: Ino(1), name: name("f") });
    world.serve(R0, answer(Answer::Found(link_elsewhere(ino.0, R2))));
    world.serve(R2, answer(Answer::Attr(file(ino.0))));
    assert_eq!(world.answer(call), Ok(Done::Entry(file(ino.0))));
}

/// Its first answer was lost, and somebody has taken the name since.
#[test]
fn a_link_that_was_made_asks_what_it_has_made() {
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, Outcome::Done(Answer::Found(Found::Here(file(20)))));
    let call = world.call(Call::Link { ino: Ino(20), dir: Ino(1), name: name("g") });
    world.serve(R0, answer(Answer::Done));
    let asked = world.serve(R0, answer(Answer::Attr(file(20))));
    assert!(matches!(asked.op, Op::Getattr { .. }), "{:?}", asked.op);
    assert_eq!(world.answer(call), Ok(Done::Entry(file(20))));
}

/// The kernel gives up what it had while it asks for the same name again.
#[test]
fn what_the_kernel_forgets_while_it_is_looked_up_is_found_again() {
    let mut world = Fixture::new();
    let ino = Ino::new(common::id::Slot(2), 0x500);
    let look_up = |world: &mut Fixture| world.call(Call::Lookup { dir: Ino(1), name: name("f") });
    look_up(&mut world);
    world.serve(R0, answer(Answer::Found(link_elsewhere(ino.0, R2))));
    world.serve(R2, answer(Answer::Attr(file(ino.0))));
    look_up(&mut world);
    world.serve(R0, answer(Answer::Found(link_elsewhere(ino.0, R2))));
    world.input(Input::References(References::Forgotten { items: vec![(ino, 1)] }));
    world.serve(R2, answer(Answer::Attr(file(ino.0))));
    let call = world.call(Call::Getattr { ino });
    let asked = world.serve(R2, answer(Answer::Attr(file(ino.0))));
    assert_eq!(asked.op, Op::Getattr { target: Target { ino, place: Place::Home } });
    assert_eq!(world.answer(call), Ok(Done::Attr(file(ino.0))));
}

#[test]
fn a_directory_removed_between_the_two_questions_is_not_there() {
    let mut world = Fixture::new();
    let call = world.call(Call::Lookup { dir: Ino(1), name: name("d") });
    world.serve(R0, answer(Answer::Found(dir_elsewhere(10, R2))));
    world.serve(R2, Outcome::Gone { ino: Ino(10) });
    // Once to find the directory, once more to begin anew.
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    assert_eq!(world.answer(call), Err(FsError::NotFound));
}

/// The name stood for a directory of another rank, which somebody removed: now there is a file to be made
/// (simulator, `take_over_from_another_machine` 54000447).
#[test]
fn what_is_to_be_opened_or_made_is_made_when_what_was_there_is_gone() {
    let mut world = Fixture::new();
    let Call::Create { dir, name, node, mode, umask, .. } = create(1, "d") else { panic!() };
    let existing = IfExists::Open;
    let call = world.call(Call::Create { dir, name, node, mode, umask, existing });
    world.serve(R0, answer(Answer::Found(dir_elsewhere(10, R2))));
    world.serve(R2, Outcome::Gone { ino: Ino(10) });
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    let again = world.serve(R0, here(20));
    assert!(matches!(again.op, Op::Create(_)), "{again:?}");
    assert_eq!(world.answer(call), Ok(Done::Entry(file(20))));
}

/// The rank knows whether a default ACL takes its place.
#[test]
fn mode_and_umask_are_handed_on() {
    let mut world = Fixture::new();
    let request = world.make("f", 20, 1);
    let Op::Create(create) = request.op else { panic!() };
    assert_eq!((create.mode, create.umask), (0o666, 0o022));
}

fn page(entries: &[(&str, u64, Found)], end: PageEnd) -> Outcome {
    let entries = entries
        .iter()
        .map(|(text, cookie, found)| PageEntry {
            name: name(text),
            cookie: *cookie,
            found: found.clone(),
        })
        .collect();
    answer(Answer::Page(Page { entries, end }))
}

fn list(detail: ListDetail) -> Call {
    Call::Readdir { dir: Ino(1), cookie: 0, entries_max: 100, detail }
}

fn listing(result: Result<Done, FsError>) -> Vec<(Ino, bool)> {
    let Ok(Done::Listing(listing)) = result else { panic!("{result:?}") };
    listing.entries.iter().map(|entry| (entry.ino, entry.attr.is_some())).collect()
}

#[test]
fn a_listing_with_attributes_asks_each_other_rank_once() {
    let mut world = Fixture::new();
    let call = world.call(list(ListDetail::Attributes));
    let entries = [
        ("a", 3, Found::Here(file(20))),
        ("b", 4, dir_elsewhere(10, R1)),
        ("c", 5, dir_elsewhere(11, R1)),
        ("d", 6, link_elsewhere(21, R2)),
    ];
    world.serve(R0, page(&entries, PageEnd::Last));
    let stat = world.serve(R1, answer(Answer::Stats(vec![Some(dir_attr(10)), Some(dir_attr(11))])));
    let targets = vec![Target::dir(Ino(10)), Target::dir(Ino(11))];
    assert_eq!(stat.op, Op::Stat { targets });
    world.assert_waiting(call);
    world.serve(R2, answer(Answer::Stats(vec![Some(file(21))])));
    let all = [(Ino(20), true), (Ino(10), true), (Ino(11), true), (Ino(21), true)];
    assert_eq!(listing(world.answer(call)), all);
}

/// A listing tells its rank nothing of who refers to what, and the kernel opens by what it has listed.
fn opening_what_was_listed() -> (Fixture, CallId) {
    let mut world = Fixture::new();
    world.call(list(ListDetail::Attributes));
    world.serve(R0, page(&[("f", 3, Found::Here(file(20)))], PageEnd::Last));
    let listed = Listed { ino: Ino(20), kind: FileKind::File, name: name("f"), at: None };
    world.refer(References::Listed { dir: Ino(1), entries: vec![listed] });
    let opened = world.call(Call::Open { ino: Ino(20) });
    (world, opened)
}

#[test]
fn what_was_listed_is_pinned_when_it_is_opened() {
    cov_mark::check_count!(what_was_listed_is_pinned_when_it_is_opened, 1);
    let (mut world, opened) = opening_what_was_listed();
    world.assert_waiting(opened);
    let place = Place::Entry { dir: Ino(1), name: name("f") };
    let asked = world.serve(R0, answer(Answer::Attr(file(20))));
    assert_eq!(asked.op, Op::Getattr { target: Target { ino: Ino(20), place } });
    assert_eq!(world.answer(opened), Ok(Done::Nothing));
    let again = world.call(Call::Open { ino: Ino(20) });
    assert_eq!(world.answer(again), Ok(Done::Nothing), "without asking");
}

/// The kernel looks the name up once more.
#[test]
fn what_was_listed_and_is_gone_is_stale() {
    let (mut world, opened) = opening_what_was_listed();
    world.serve(R0, Outcome::Gone { ino: Ino(20) });
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    assert_eq!(world.answer(opened), Err(FsError::Stale));
}

#[test]
fn what_moved_during_a_listing_is_asked_for_by_itself() {
    let mut world = Fixture::new();
    let call = world.call(list(ListDetail::Attributes));
    let entries = [("b", 4, dir_elsewhere(10, R1)), ("c", 5, dir_elsewhere(11, R1))];
    world.serve(R0, page(&entries, PageEnd::Last));
    world.serve(R1, answer(Answer::Stats(vec![None, None])));
    world.serve(R0, answer(Answer::Attr(dir_attr(10))));
    world.serve(R0, Outcome::Gone { ino: Ino(11) });
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    assert_eq!(listing(world.answer(call)), [(Ino(10), true)]);
}

#[test]
fn a_page_of_which_nothing_is_left_is_not_the_end() {
    let mut world = Fixture::new();
    let call = world.call(list(ListDetail::Attributes));
    world.serve(R0, page(&[("c", 5, dir_elsewhere(11, R1))], PageEnd::More));
    world.serve(R1, answer(Answer::Stats(vec![None])));
    world.serve(R0, Outcome::Gone { ino: Ino(11) });
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    let next = world.serve(R0, page(&[("d", 7, Found::Here(file(20)))], PageEnd::Last));
    assert_eq!(next.op, Op::Readdir { dir: Ino(1), cookie: 5, entries_max: 100 });
    assert_eq!(listing(world.answer(call)), [(Ino(20), true)]);
}

#[test]
fn names_alone_ask_nobody_else() {
    let mut world = Fixture::new();
    let call = world.call(list(ListDetail::Names));
    world.serve(R0, page(&[("b", 4, dir_elsewhere(10, R1))], PageEnd::Last));
    assert_eq!(listing(world.answer(call)), [(Ino(10), false)]);
}

#[test]
fn sync_asks_every_rank_that_has_changes_of_ours() {
    let mut world = Fixture::new();
    let nothing = world.call(Call::Sync);
    assert_eq!(world.answer(nothing), Ok(Done::Nothing));

    world.look_up(1, "d", R0, dir_here(10, R1));
    world.make("f", 20, 5);
    let unlink = world.call(Call::Unlink { dir: Ino(10), name: name("g") });
    world.apply(R1, 7, answer(Answer::Done));
    assert!(world.answer(unlink).is_ok());
    world.sent.clear();

    let call = world.call(Call::Sync);
    assert_eq!(world.serve(R0, answer(Answer::Done)).op, Op::Sync);
    world.assert_waiting(call);
    assert_eq!(world.serve(R1, answer(Answer::Done)).op, Op::Sync);
    assert_eq!(world.answer(call), Ok(Done::Nothing));

    world.tell(R0, ToClient::Durable { through: Seq(5) });
    world.tell(R1, ToClient::Durable { through: Seq(7) });
    let nothing = world.call(Call::Sync);
    assert_eq!(world.answer(nothing), Ok(Done::Nothing));
}

#[test]
fn set_group_id_of_a_directory_survives_a_new_owner() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let set = SetAttr { uid: Some(5), kill_privileges: true, ..SetAttr::default() };
    world.call(Call::Setattr { ino: Ino(10), set });
    let (_, request) = world.request();
    let Op::Setattr { set, .. } = request.op else { panic!() };
    assert!(!set.kill_privileges);
}
