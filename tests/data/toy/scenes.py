"""Everyday scenes from which the toy corpus is drawn: turns with alternatives and slots.

A slot has one value throughout a dialogue, so that a reply depends on what was said before it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scene:
    """Slot values, and for each turn the wordings that may stand there; A speaks first."""

    slots: dict[str, tuple[str, ...]]
    turns: tuple[tuple[str, ...], ...]


_NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Irene", "Jack")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PLACES = (
    "the station",
    "the museum",
    "the library",
    "the harbour",
    "the old bridge",
    "the post office",
    "the market",
    "the city park",
    "the theatre",
    "the hospital",
)
_DISHES = (
    "mushroom soup",
    "grilled fish",
    "onion tart",
    "roast chicken",
    "bean stew",
    "vegetable curry",
    "lamb pie",
    "tomato pasta",
    "pepper steak",
    "pumpkin risotto",
)
_DRINKS = (
    "green tea",
    "black coffee",
    "apple juice",
    "sparkling water",
    "hot chocolate",
    "lemonade",
    "ginger beer",
    "mint tea",
    "iced coffee",
    "red wine",
)
_HOURS = ("seven", "eight", "nine", "ten", "eleven", "noon", "one", "two", "three", "four")
_PRICES = ("12", "25", "38", "40", "55", "60", "75", "90", "120", "150")

SCENES = (
    Scene(
        {"dish": _DISHES, "drink": _DRINKS},
        (
            ("Good evening. What can I bring you?", "Are you ready to order?"),
            (
                "I'd like the {dish} and a {drink}, please.",
                "Could I have the {dish}? And a {drink} with it.",
                "The {dish} sounds good. I'll take a {drink} as well.",
            ),
            (
                "The {dish} takes twenty minutes. Shall I bring the {drink} first?",
                "I'm afraid the {dish} is finished. Would you like the {drink} while you choose?",
                "Certainly. One {dish} and one {drink}. Is that all?",
            ),
            (
                "Yes, bring the {drink} right away. I'm very thirsty.",
                "Yes, please. I can't wait to try that {dish}, whenever it comes.",
            ),
            ("Of course.", "With pleasure. I'll be back in a moment."),
            ("Thank you.",),
        ),
    ),
    Scene(
        {"place": _PLACES, "name": _NAMES, "number": ("2", "5", "9", "14", "31", "48", "56", "70")},
        (
            (
                "Excuse me, how do I get to {place}?",
                "Sorry, could you tell me the way to {place}?",
                "Pardon me, is {place} far from here?",
            ),
            (
                "Take bus number {number}. It stops right in front of {place}.",
                "It's a long walk to {place}. I would take the number {number} tram.",
                "Go straight on to {name}'s bakery, then turn left. You'll see {place}.",
            ),
            (
                "How long does it take to {place} if I go on foot?",
                "Is there a ticket machine on the way to {place}?",
            ),
            (
                "Half an hour on foot. With the number {number} it's only ten minutes to {place}.",
                "I'm not sure. Ask {name} at the kiosk, who knows everything about {place}.",
            ),
            ("Thank you very much.", "That's very kind of you."),
            ("You're welcome.", "Don't mention it."),
        ),
    ),
    Scene(
        {
            "name": _NAMES,
            "day": _DAYS,
            "hour": _HOURS,
            "event": (
                "a birthday party",
                "a picnic",
                "a small concert",
                "a barbecue",
                "a film night",
                "a garden party",
                "a card evening",
                "a dinner",
            ),
        },
        (
            (
                "{name} is giving {event} on {day}. Would you like to come?",
                "Have you heard? There is {event} at {name}'s house on {day}.",
            ),
            (
                "On {day}? I'd love to. What time does {event} start?",
                "I'd like to see {name} again, but I work on {day}.",
                "{event} at {name}'s? That sounds like fun. When should I be there?",
            ),
            (
                "Around {hour}. {name} asked everybody to bring something.",
                "Come at {hour}, and {day} evening will still be young.",
            ),
            (
                "Then I'll be there at {hour}. Should I bring a cake for {name}?",
                "At {hour} I can make it. Let's go there together on {day}.",
            ),
            ("Great! See you then.", "Good idea. {name} will be so happy."),
            ("See you on {day}.", "See you then."),
        ),
    ),
    Scene(
        {
            "item": (
                "jacket",
                "lamp",
                "suitcase",
                "kettle",
                "bicycle",
                "camera",
                "umbrella",
                "watch",
            ),
            "colour": ("red", "blue", "green", "black", "white", "yellow", "grey", "brown"),
            "price": _PRICES,
        },
        (
            (
                "I'm looking for a {colour} {item}. Do you have one?",
                "How much is that {colour} {item} in the window?",
                "Can I have a look at the {colour} {item}?",
            ),
            (
                "Here you are. The {colour} {item} costs {price} dollars.",
                "The {item} is {price} dollars, and we only have it in {colour}.",
            ),
            (
                "{price} dollars is too much for a {item}. Can you make it cheaper?",
                "It's pretty, but I hoped to pay less than {price} for a {colour} one.",
            ),
            (
                "I can take five dollars off the {item}, because you're a regular customer.",
                "I'm sorry, the price of this {colour} {item} is fixed.",
            ),
            ("All right, I'll take it.", "Let me think about the {item} until tomorrow."),
            ("Thank you. Would you like a bag?", "Of course. Take your time."),
        ),
    ),
    Scene(
        {
            "pain": ("throat", "back", "head", "knee", "stomach", "shoulder", "left ear", "ankle"),
            "since": (
                "this morning",
                "last night",
                "Monday",
                "the weekend",
                "my holiday",
                "the football match",
                "I moved house",
                "my birthday",
            ),
            "days": ("two", "three", "four", "five", "six", "ten"),
        },
        (
            ("What seems to be the trouble?", "Good morning. How can I help you?"),
            (
                "My {pain} has been hurting since {since}, doctor.",
                "I've had a terrible pain in my {pain} since {since}.",
            ),
            (
                "Let me look at your {pain}. Does it hurt when I press here?",
                "Since {since}? Have you taken anything for your {pain}?",
            ),
            (
                "Yes, my {pain} hurts a lot there. Is it serious?",
                "Only some tea. I thought the {pain} would get better by itself.",
            ),
            (
                "No, but rest your {pain} for {days} days and take these tablets.",
                "It isn't serious. Come back in {days} days if the {pain} still hurts.",
            ),
            ("Thank you, doctor.", "I will. Thank you, doctor."),
        ),
    ),
    Scene(
        {
            "weather": (
                "rain",
                "snow",
                "fog",
                "sunshine",
                "a storm",
                "strong wind",
                "frost",
                "hail",
            ),
            "day": _DAYS,
            "plan": (
                "go fishing",
                "paint the fence",
                "climb the hill",
                "go sailing",
                "wash the car",
                "visit the zoo",
                "play tennis",
                "pick apples",
            ),
        },
        (
            (
                "The radio says we'll have {weather} on {day}.",
                "Have you seen the forecast? {weather} all day on {day}.",
            ),
            (
                "{weather} on {day}? But we wanted to {plan}!",
                "Really? I was hoping to {plan} on {day}.",
            ),
            (
                "We can still {plan}. A bit of {weather} never hurt anyone.",
                "Then we'd better {plan} another day, when there is no {weather}.",
            ),
            (
                "I don't like {weather} at all. Let's stay at home and play chess.",
                "You're right, I'd rather {plan} than sit in the house because of {weather}.",
            ),
            ("As you like.", "Fine with me."),
        ),
    ),
    Scene(
        {
            "city": ("Lisbon", "Vienna", "Prague", "Dublin", "Oslo", "Athens", "Rome", "Warsaw"),
            "day": _DAYS,
            "hour": _HOURS,
            "price": _PRICES,
        },
        (
            (
                "I need a train ticket to {city} for {day}.",
                "Is there still a seat on a train to {city} on {day}?",
            ),
            (
                "There is one to {city} at {hour}. It costs {price} euros.",
                "The {day} train to {city} leaves at {hour}. Single or return?",
            ),
            (
                "Does the {hour} train go straight to {city}, or must I change?",
                "Return, please. And a window seat to {city}, if there is one at {hour}.",
            ),
            (
                "It goes straight to {city}. You'll be there before it gets dark on {day}.",
                "You have to change once on the way to {city}. That makes {price} euros.",
            ),
            ("Here is my card.", "Can I pay the {price} euros in cash?"),
            ("Have a good journey to {city}.", "Certainly. Have a pleasant trip."),
        ),
    ),
    Scene(
        {
            "name": _NAMES,
            "pet": ("cat", "parrot", "rabbit", "puppy", "hamster", "goldfish"),
            "thing": (
                "ate my sandwich",
                "slept on my pillow",
                "hid behind the sofa",
                "woke up the neighbours",
                "knocked over a vase",
                "chewed my slippers",
            ),
        },
        (
            (
                "How is your new {pet}? {name} told me about it.",
                "{name} says that you have a {pet} now. Is that true?",
            ),
            (
                "It's lovely, but yesterday the {pet} {thing}.",
                "Yes, the {pet} is called {name}, too. This morning it {thing}!",
            ),
            (
                "Your {pet} {thing}? That's so funny!",
                "Oh no. Every {pet} I know has done that. Mine {thing} twice.",
            ),
            (
                "It wasn't funny at the time, but who can be angry with a {pet}?",
                "I told {name}, and we laughed about the {pet} for an hour.",
            ),
            ("May I come and see it?", "Can I visit you both tomorrow?"),
            ("Sure, any time.", "Of course."),
        ),
    ),
    Scene(
        {
            "book": (
                "a crime novel",
                "a history of Rome",
                "a book about whales",
                "old love letters",
                "a cookbook",
                "poems from Chile",
                "a travel diary",
                "a biography of Mozart",
            ),
            "verdict": ("exciting", "rather slow", "wonderful", "too long", "sad", "very funny"),
            "name": _NAMES,
        },
        (
            ("What are you reading?", "Is that book any good?"),
            (
                "It's {book}. {name} lent it to me, and it's {verdict}.",
                "I'm reading {book}. So far it's {verdict}.",
            ),
            (
                "If {book} can be {verdict}, I'd like to read it after you.",
                "Why do you find it {verdict}? I usually like {book}.",
            ),
            (
                "You can have it when I'm done, but {name} wants it back soon.",
                "Well, the end is {verdict}. The beginning is another matter, {name} says.",
            ),
            ("I'll be careful with it.", "Then I'll buy {book} myself."),
        ),
    ),
    Scene(
        {
            "job": (
                "cook",
                "nurse",
                "driver",
                "teacher",
                "gardener",
                "translator",
                "plumber",
                "baker",
            ),
            "years": ("two", "three", "four", "six", "eight", "twelve"),
            "reason": (
                "I want to work nearer home",
                "I like working with people",
                "I need a new challenge",
                "the old shop closed",
                "I prefer early shifts",
                "I've always admired this house",
            ),
        },
        (
            (
                "So you'd like to work here as a {job}. Why?",
                "Why did you apply for the post of {job}?",
            ),
            (
                "Because {reason}. And I've been a {job} for {years} years.",
                "I've worked as a {job} for {years} years, and {reason}.",
            ),
            (
                "{years} years as a {job} is a long time. What did you learn?",
                "I see: {reason}. When could our new {job} start?",
            ),
            (
                "That a good {job} listens first. It took me {years} years.",
                "I could start as your {job} next month, since {reason}.",
            ),
            ("We'll call you on Friday.", "Good. We'll let you know."),
            ("I look forward to it.", "Thank you for your time."),
        ),
    ),
    Scene(
        {
            "room": ("kitchen", "bathroom", "hall", "bedroom", "cellar", "living room"),
            "fault": (
                "the light doesn't work",
                "the tap is dripping",
                "the window won't close",
                "the heating is cold",
                "there is a strange smell",
                "the door is stuck",
            ),
            "hour": _HOURS,
        },
        (
            (
                "Hello, I rent the flat upstairs. In the {room} {fault}.",
                "I have a problem in my {room}: {fault}.",
            ),
            (
                "Since when? I had somebody look at the {room} last month, and {fault} again!",
                "I'm sorry that {fault}. Can I come to see the {room} at {hour}?",
            ),
            (
                "{hour} is fine. Please hurry, I can't use the {room} like this.",
                "Since last night. If {fault} much longer, I'll move out of the {room}.",
            ),
            (
                "I'll be there at {hour} with my tools, and your {room} will be like new.",
                "I'll send someone to the {room} at {hour}. I promise.",
            ),
            ("Thanks a lot.", "Thank you."),
        ),
    ),
    Scene(
        {
            "sport": ("tennis", "chess", "football", "basketball", "badminton", "hockey", "golf"),
            "name": _NAMES,
            "result": (
                "won easily",
                "lost again",
                "played until midnight",
                "gave up early",
                "broke a window",
                "got very wet",
            ),
        },
        (
            (
                "How was the {sport} with {name}?",
                "Did you play {sport} with {name} yesterday?",
            ),
            (
                "Yes. We {result}, and {name} wants to play {sport} every week now.",
                "Oh, {name} and I {result}. I'm never any good at {sport}.",
            ),
            (
                "You {result}? I didn't know {name} took {sport} so seriously.",
                "Don't worry. When I played {sport} with {name}, we {result}, too.",
            ),
            (
                "{name} takes everything seriously. Do you want to join us for {sport}?",
                "Next time you play {sport} with us. Then {name} will have to be polite.",
            ),
            ("I'd love to.", "No, thanks. I'd rather watch {name} play."),
        ),
    ),
    Scene(
        {
            "lesson": ("maths", "history", "French", "physics", "music", "biology", "geography"),
            "day": _DAYS,
            "name": _NAMES,
        },
        (
            (
                "Have you finished the {lesson} homework for {day}?",
                "What do we have to do in {lesson} until {day}?",
            ),
            (
                "I haven't started. {name} said that {lesson} was put off.",
                "Only the first page. The {lesson} questions are harder than on {day}.",
            ),
            (
                "{name} is wrong. We write a {lesson} test on {day}!",
                "Let's do the {lesson} questions together with {name}.",
            ),
            (
                "A test on {day}? I don't understand anything in {lesson}.",
                "Good. {name} is better at {lesson} than both of us.",
            ),
            ("Come to my place after school.", "Don't panic. I can explain {lesson} to you."),
            ("Thanks, you're a real friend.", "Okay, thank you."),
        ),
    ),
    Scene(
        {
            "nights": ("two", "three", "four", "five", "seven"),
            "price": _PRICES,
            "view": (
                "the sea",
                "the garden",
                "the mountains",
                "the square",
                "the lake",
                "the river",
            ),
        },
        (
            (
                "Do you have a room for {nights} nights, with a view of {view}?",
                "I'd like a quiet room facing {view}, for {nights} nights.",
            ),
            (
                "We have one that looks on {view} for {price} a night.",
                "For {nights} nights it would be {price} each. You can see {view} from the bed.",
            ),
            (
                "Is breakfast included in the {price}?",
                "{price} is fine, as long as {view} is really there.",
            ),
            (
                "Yes, and it is served on the terrace above {view}.",
                "Breakfast is extra. Most guests go to a café near {view}.",
            ),
            ("Then I'll take the room for {nights} nights.", "I'll take it."),
            ("Here is your key. Enjoy {view}.", "Very well. Please sign here."),
        ),
    ),
)
