"""Whoever does the right thing to the wrong row ends in another state, in every world and for every kind of thing."""

import pytest

from toolorchestra.worlds.session import Session

# The world, a tool that writes, its argument that names a row, the table of that row, and the status that others have as well.
CASES = [
    ("ecommerce", "cancel_order", "order_id", "orders", None),
    ("education", "book_room", "student_id", "students", None),
    ("education", "drop_class", "enrolment_id", "enrolments", None),
    ("education", "enrol", "section_id", "sections", None),
    ("entertainment", "book_seats", "performance_id", "performances", None),
    ("entertainment", "cancel_booking", "booking_id", "bookings", None),
    ("entertainment", "hand_over_booking", "patron_id", "patrons", None),
    ("finance", "cancel_standing_order", "order_id", "standing_orders", None),
    ("finance", "dispute_payment", "transaction_id", "transactions", None),
    ("finance", "pay", "payee_id", "payees", None),
    ("medicine", "cancel_appointment", "appointment_id", "appointments", "booked"),
    ("railway", "cancel_booking", "booking_id", "bookings", None),
    ("restaurant", "book_event", "event_id", "events", None),
    ("restaurant", "cancel_reservation", "reservation_id", "reservations", None),
    ("restaurant", "give_voucher", "voucher_id", "vouchers", None),
    ("restaurant", "preorder_dish", "dish_id", "dishes", None),
    ("restaurant", "reserve_table", "venue_id", "venues", None),
    ("sport", "cancel_booking", "booking_id", "bookings", None),
    ("sport", "enrol", "course_id", "courses", None),
    ("sport", "enter_tournament", "tournament_id", "tournaments", None),
    ("sport", "leave_course", "enrolment_id", "enrolments", None),
    ("sport", "pay_fine", "fine_id", "fines", None),
    ("travel", "cancel_booking", "booking_id", "bookings", "confirmed"),
    ("weather", "cancel_visit", "visit_id", "visits", None),
    ("weather", "claim_cover", "policy_id", "policies", None),
    ("weather", "renew_licence", "licence_id", "licences", None),
    ("weather", "take_cover", "station_id", "stations", None),
]


@pytest.mark.parametrize(("domain", "tool", "argument", "table", "status"), CASES)
def test_a_wrong_entity_is_found_out(built_domain, domain, tool, argument, table, status):
    built = built_domain(domain)
    asked = [(task, one) for task in built.tasks for one in task.golden if one.tool == tool]
    assert asked
    rows = {key: row for key, row in built.world.rows.tables[table].items() if status in (None, row.get("status"))}
    for task, one in asked:
        other = next(key for key in rows if key != one.arguments[argument])
        wrong = one.model_copy(update={"arguments": {**one.arguments, argument: other}})
        calls = [wrong.call if call.id == one.id else call.call for call in task.golden]
        assert Session.replay(built.world, calls).state_hash != Session.replay(built.world, task.calls).state_hash
