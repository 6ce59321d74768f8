//! The rules, over everything that was seen.

use std::collections::{BTreeMap, BTreeSet};

use common::attr::FileKind;
use common::id::{Ino, Rank};
use common::wire::fsck::{File, Place};

use super::census::{Census, Dir};
use super::{Findings, Objects, Problem};

/// What authorities have.
#[derive(Default)]
struct Seen<'a> {
    dirs: BTreeMap<Ino, (Rank, &'a Dir)>,
    /// Names of directories.
    named: BTreeMap<Ino, BTreeSet<Place>>,
    /// Files that lie in entries, each with where.
    embedded: BTreeMap<Ino, BTreeSet<Place>>,
    /// Names of files that lie at their homes.
    links: BTreeMap<Ino, Vec<(Rank, Place)>>,
    homes: BTreeMap<Ino, (Rank, FileKind, File)>,
    orphans: BTreeSet<Ino>,
    /// Names and sub-directories, counted.
    counts: BTreeMap<Ino, (u64, u32)>,
    /// Regular files, with their sizes.
    files: BTreeMap<Ino, u64>,
    /// Named in rows whose rank is not the authority, or does not seem to be one because something else is
    /// wrong. Nothing is said to be without a name because of that.
    doubtful: BTreeSet<Ino>,
}

/// Compares all with all. `objects`: none if there is no look at the data.
#[must_use]
pub fn check(census: &Census, objects: Option<&Objects>) -> Findings {
    let mut findings = Findings::default();
    let seen = see(census, &mut findings);
    claims(census, &seen, &mut findings.problems);
    directories(&seen, &mut findings);
    files(&seen, &mut findings.problems);
    if let Some(objects) = objects {
        findings.objects = objects.len();
        data(&seen, objects, &mut findings.problems);
    }
    findings.dirs = seen.dirs.len() as u64;
    findings.inodes = (seen.embedded.len() + seen.homes.len() + seen.orphans.len()) as u64;
    findings.orphans = seen.orphans.len() as u64;
    findings
}

fn see<'a>(census: &'a Census, findings: &mut Findings) -> Seen<'a> {
    let mut seen = Seen::default();
    for (rank, rows) in &census.ranks {
        let mut known = BTreeMap::new();
        for (ino, dir) in &rows.dirs {
            if census.owns(*rank, *ino, &mut known) {
                seen.dirs.insert(*ino, (*rank, dir));
            } else {
                findings.stale += 1;
            }
        }
        for (place, entry) in &rows.entries {
            if !census.owns(*rank, place.dir, &mut known) {
                findings.stale += 1;
                seen.doubtful.insert(entry.ino);
                continue;
            }
            findings.names += 1;
            let count = seen.counts.entry(place.dir).or_default();
            count.0 += 1;
            match (entry.kind, entry.file) {
                (FileKind::Dir, _) => {
                    count.1 += 1;
                    seen.named.entry(entry.ino).or_default().insert(place.clone());
                }
                (kind, Some(file)) => {
                    seen.embedded.entry(entry.ino).or_default().insert(place.clone());
                    seen.note_file(entry.ino, kind, file);
                }
                (_, None) => {
                    seen.links.entry(entry.ino).or_default().push((*rank, place.clone()));
                }
            }
        }
        for (ino, (kind, file)) in &rows.inodes {
            seen.homes.insert(*ino, (*rank, *kind, *file));
            seen.note_file(*ino, *kind, *file);
        }
        seen.orphans.extend(&rows.orphans);
    }
    seen
}

impl Seen<'_> {
    fn note_file(&mut self, ino: Ino, kind: FileKind, file: File) {
        if kind == FileKind::File {
            self.files.insert(ino, file.size);
        }
    }
}

fn claims(census: &Census, seen: &Seen<'_>, problems: &mut BTreeSet<Problem>) {
    for (dir, ranks) in &census.claims {
        match ranks.as_slice() {
            [rank] if seen.dirs.get(dir).is_none_or(|(has, _)| has != rank) => {
                problems.insert(Problem::ClaimOfNothing { dir: *dir, rank: *rank });
            }
            [_] => {}
            ranks => {
                let ranks = ranks.iter().copied().collect();
                problems.insert(Problem::ClaimedTwice { dir: *dir, ranks });
            }
        }
    }
}

fn directories(seen: &Seen<'_>, findings: &mut Findings) {
    for (ino, (at, dir)) in &seen.dirs {
        let (ino, at) = (*ino, *at);
        let found = seen.counts.get(&ino).copied().unwrap_or_default();
        let stored = (dir.entries, dir.subdirs);
        if found != stored {
            findings.problems.insert(Problem::Counts { dir: ino, at, stored, found });
        }
        let names = seen.named.get(&ino);
        let name = names.and_then(BTreeSet::first);
        if let Some(place) = name {
            findings.paths.insert(ino, place.clone());
        }
        match (name, names.map_or(0, BTreeSet::len)) {
            (None, _) if ino == Ino::ROOT => {}
            (None, _) => {
                findings.problems.insert(Problem::NoName { dir: ino, at });
            }
            (Some(place), 1) if dir.parent.as_ref() == Some(place) => {}
            (Some(place), 1) => {
                let place = place.clone();
                findings.problems.insert(Problem::OtherParent { dir: ino, at, place });
            }
            (Some(_), _) => {
                let places = names.cloned().unwrap_or_default();
                findings.problems.insert(Problem::ManyNames { ino, places });
            }
        }
    }
    for (ino, places) in &seen.named {
        if !seen.dirs.contains_key(ino) {
            for place in places {
                // Whoever has the name.
                let at = seen.dirs.get(&place.dir).map_or(Rank::ROOT, |(rank, _)| *rank);
                let problem = Problem::LeadsToNothing { at, place: place.clone(), ino: *ino };
                findings.problems.insert(problem);
            }
        }
    }
}

fn files(seen: &Seen<'_>, problems: &mut BTreeSet<Problem>) {
    for (ino, places) in &seen.embedded {
        let elsewhere = seen.links.get(ino).into_iter().flatten().map(|(_, place)| place);
        let all: BTreeSet<Place> = places.iter().chain(elsewhere).cloned().collect();
        if all.len() > 1 || seen.homes.contains_key(ino) {
            problems.insert(Problem::ManyNames { ino: *ino, places: all });
        }
    }
    for (ino, links) in &seen.links {
        if seen.homes.contains_key(ino) || seen.embedded.contains_key(ino) {
            continue;
        }
        for (at, place) in links {
            let problem = Problem::LeadsToNothing { at: *at, place: place.clone(), ino: *ino };
            problems.insert(problem);
        }
    }
    for (ino, (at, _, file)) in &seen.homes {
        let (ino, at, stored) = (*ino, *at, file.nlink);
        if seen.doubtful.contains(&ino) {
            continue;
        }
        let found = seen.links.get(&ino).map_or(0, Vec::len);
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        if found == 0 {
            problems.insert(Problem::NoLinks { ino, at });
        } else if found != stored {
            problems.insert(Problem::Links { ino, at, stored, found });
        }
    }
    for ino in &seen.orphans {
        let embedded = seen.embedded.get(ino).into_iter().flatten();
        let linked = seen.links.get(ino).into_iter().flatten().map(|(_, place)| place);
        let places: BTreeSet<Place> = embedded.chain(linked).cloned().collect();
        if !places.is_empty() {
            problems.insert(Problem::NamedOrphan { ino: *ino, places });
        }
    }
}

fn data(seen: &Seen<'_>, objects: &Objects, problems: &mut BTreeSet<Problem>) {
    for (ino, bytes) in objects.iter() {
        let owner = seen.files.contains_key(&ino) || seen.orphans.contains(&ino);
        if !owner && !seen.doubtful.contains(&ino) {
            problems.insert(Problem::StrayData { ino, bytes });
        }
    }
    for (ino, size) in &seen.files {
        let bytes = objects.bytes(*ino);
        if *size > bytes {
            problems.insert(Problem::MissingData { ino: *ino, size: *size, bytes });
        }
    }
}

#[cfg(test)]
mod tests;
