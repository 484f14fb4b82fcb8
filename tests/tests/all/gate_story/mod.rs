//! The whole path through the gate, on the real server with the real tool: an app that is denied is mended by what the texts say, passes,
//! goes live, and is taken back when a hole is found in it.

mod codes;
mod formats;
mod hole;
mod live;
mod mending;

use tidegate_tests::Discount;

use crate::receiver::Receiver;

#[test]
fn an_app_is_denied_mended_by_what_the_texts_say_goes_live_and_is_taken_back_for_a_hole_found_later() {
    let owner = Receiver::that(&[]);
    let app = Discount::begin(Some(&owner.url));
    mending::mend(&app);
    let people = live::go_live(&app);
    hole::is_found(&app, &people, &owner);
    hole::cannot_be_waived(&app);
    hole::is_taken_upon_oneself_for_an_hour(&app, &people);
}
