"""Rows of the library, drawn."""

from datetime import date, timedelta

from toolorchestra.training.toolscale.names import draw_people

TITLES = ("Salt", "Owls", "Bread", "Gardens", "Rivers", "Winter", "Harbour", "Lanterns", "Moss", "Orchards")


def draw_rows(random):
    people = draw_people(random, 30)
    members = [
        {"member_id": f"ME-{n}", "name": one.name, "email": one.email, "fines": random.randrange(0, 2000, 5)}
        for n, one in enumerate(people, 100)
    ]
    books = [
        {
            "book_id": f"BO-{n}",
            "title": f"{random.choice(('A Book of', 'On', 'Beyond'))} {title} {n}",
            "shelf": f"{random.choice('ABC')}{n}",
            "copies": random.randint(0, 4),
            "price": random.randrange(900, 4000),
        }
        for n, title in enumerate(TITLES * 3, 100)
    ]
    loans = [
        {
            "loan_id": f"LO-{n}",
            "member_id": random.choice(members)["member_id"],
            "book_id": random.choice(books)["book_id"],
            "due": (date(2026, 3, 3) + timedelta(days=random.randint(0, 40))).isoformat(),
            "status": random.choice(("open", "open", "returned")),
            "note": None,
        }
        for n in range(100, 190)
    ]
    return {"members": members, "books": books, "loans": loans}
