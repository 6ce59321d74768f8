//! `Visited`: every state that was ever reached, numbered in the order in which they were, and how each
//! came about. Some 60 bytes each: there are tens of millions.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

use super::reduction::Parties;
use super::state::State;

pub const NOWHERE: u32 = u32::MAX;

/// What is kept of a state beyond itself.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    pub parent: u32,
    /// Where the fair next event leads; itself, if it is at rest.
    pub fair: u32,
    /// Which of the parent's events, in the order of [`super::event::enabled`].
    pub by: u8,
    /// Whose events were tried.
    pub tried: Parties,
}

#[derive(Debug)]
pub struct Visited {
    states: Vec<State>,
    stories: Vec<Story>,
    /// A power of two of them; each state is at the first free one from where its hash points.
    places: Vec<Place>,
}

/// With a part of the hash, so that states need not be looked at that are others.
#[derive(Clone, Copy, Debug)]
struct Place {
    tag: u32,
    number: u32,
}

const FREE: Place = Place { tag: 0, number: NOWHERE };

impl Default for Visited {
    fn default() -> Self {
        Self { states: Vec::new(), stories: Vec::new(), places: vec![FREE; 1 << 10] }
    }
}

impl Visited {
    #[must_use]
    pub fn len(&self) -> usize {
        self.states.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    #[must_use]
    pub fn states(&self) -> &[State] {
        &self.states
    }

    #[must_use]
    pub fn state(&self, number: u32) -> State {
        self.states[index(number)]
    }

    #[must_use]
    pub fn story(&self, number: u32) -> &Story {
        &self.stories[index(number)]
    }

    pub fn story_mut(&mut self, number: u32) -> &mut Story {
        &mut self.stories[index(number)]
    }

    /// If it was reached before.
    #[must_use]
    pub fn number(&self, state: &State) -> Option<u32> {
        let number = self.places[self.find(state).0].number;
        (number != NOWHERE).then_some(number)
    }

    /// Numbers a state, unless it was reached before.
    pub fn reach(&mut self, state: State, parent: u32, by: u8) -> u32 {
        let (place, tag) = self.find(&state);
        if self.places[place].number != NOWHERE {
            return self.places[place].number;
        }
        let number = u32::try_from(self.states.len()).expect("memory ends first");
        self.places[place] = Place { tag, number };
        self.states.push(state);
        self.stories.push(Story { parent, fair: NOWHERE, by, tried: Parties::ALL });
        if self.states.len() * 3 > self.places.len() * 2 {
            self.grow();
        }
        number
    }

    /// Of the state that is farthest from the first one.
    #[must_use]
    pub fn depth(&self) -> u32 {
        let mut depths: Vec<u32> = Vec::with_capacity(self.stories.len());
        for story in &self.stories {
            let before = (story.parent != NOWHERE).then(|| depths[index(story.parent)] + 1);
            depths.push(before.unwrap_or(0));
        }
        depths.into_iter().max().unwrap_or(0)
    }

    /// Where a state is, or would be put, and what is written there.
    fn find(&self, state: &State) -> (usize, u32) {
        let mask = self.places.len() - 1;
        let hash = FxBuildHasher.hash_one(state);
        let tag = u32::try_from(hash >> 32).expect("32 bits are left");
        let mut place = usize::try_from(hash).expect("64 bits") & mask;
        loop {
            let Place { tag: other, number } = self.places[place];
            if number == NOWHERE || (other == tag && self.states[index(number)] == *state) {
                return (place, tag);
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        self.places = vec![FREE; self.places.len() * 2];
        for (number, state) in (0_u32..).zip(&self.states) {
            let (place, tag) = self.find(state);
            self.places[place] = Place { tag, number };
        }
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("32 bits fit")
}
