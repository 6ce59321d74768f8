//! Tells a story: one line for each event.

use super::event::Event;
use super::model::Model;
use super::property;
use super::state::State;

/// What happens, and where it leads; to the end, or to the event the core does not survive.
pub fn tell(model: &mut Model, first: State, events: &[Event]) -> (Vec<String>, State) {
    let mut state = first;
    let mut lines = Vec::new();
    for (number, event) in events.iter().enumerate() {
        let message = match event {
            Event::Deliver { from, to, lane } => {
                let first = model.first_in_lane(&state, *from, *to, *lane);
                first.map_or_else(String::new, |it| property::brief(&it.letter))
            }
            _ => String::new(),
        };
        let mut log = Vec::new();
        let next = model.apply_logged(&state, *event, &mut log);
        let line = format!("{:>3}  {:<26} {message}", number + 1, event.to_string());
        let log = if log.is_empty() { String::new() } else { format!("   [{}]", log.join("; ")) };
        lines.push(format!("{}{log}", line.trim_end()));
        match next {
            Ok(next) => state = next,
            Err(violation) => {
                lines.push(violation.to_string());
                break;
            }
        }
    }
    (lines, state)
}
