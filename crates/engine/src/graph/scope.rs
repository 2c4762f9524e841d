//! Names to numbers while a graph is expanded: a body of a function sees its own names only, a
//! branch of an If also those around it.

use std::collections::BTreeMap;

use super::Slot;

/// All values met so far, with unique names.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) names: Vec<String>,
    pub(super) slots: BTreeMap<String, Slot>,
}

impl Values {
    /// A new value; its name gets a number if it is taken.
    pub(super) fn add(&mut self, name: String) -> Slot {
        let slot = self.names.len();
        let mut unique = name;
        if self.slots.contains_key(&unique) {
            unique = format!("{unique}#{slot}");
        }
        self.slots.insert(unique.clone(), slot);
        self.names.push(unique);
        slot
    }
}

/// The names visible at one place.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Innermost last; a function's body starts a stack of its own.
    levels: Vec<BTreeMap<String, Slot>>,
    /// Put in front of names made in this scope; empty in the main graph.
    pub(super) prefix: String,
}

impl Scope {
    /// An empty scope whose values are called `prefix` + their name.
    pub(super) fn new(prefix: String) -> Self {
        Self {
            levels: vec![BTreeMap::new()],
            prefix,
        }
    }

    pub(super) fn enter(&mut self) {
        self.levels.push(BTreeMap::new());
    }

    pub(super) fn leave(&mut self) {
        self.levels.pop();
    }

    pub(super) fn find(&self, name: &str) -> Option<Slot> {
        self.levels
            .iter()
            .rev()
            .find_map(|level| level.get(name).copied())
    }

    /// Gives a value a name at the innermost level; false if the name is taken there.
    pub(super) fn bind(&mut self, name: &str, slot: Slot) -> bool {
        match self.levels.last_mut() {
            Some(level) => level.insert(name.to_owned(), slot).is_none(),
            None => false,
        }
    }
}
