"""What customers, products, questions and answers are made of. Lists of three: training, validation, test."""

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

FIRST_NAMES = [
    [
        "Mara",
        "Jonas",
        "Elif",
        "Tom",
        "Ines",
        "Piotr",
        "Hanna",
        "Luis",
        "Greta",
        "Omar",
        "Clara",
        "Felix",
        "Nadia",
        "Simon",
        "Vera",
        "Hugo",
        "Lena",
        "Amir",
        "Ruth",
        "Karl",
    ],
    ["Pia", "Emil", "Dana", "Marco", "Judith", "Sven"],
    [
        "Alma",
        "Bruno",
        "Celine",
        "Dario",
        "Esther",
        "Farid",
        "Gina",
        "Henrik",
        "Iris",
        "Kofi",
        "Lotte",
        "Milan",
        "Nora",
        "Pavel",
    ],
]
LAST_NAMES = [
    [
        "Lind",
        "Becker",
        "Kaya",
        "Moore",
        "Costa",
        "Nowak",
        "Vogel",
        "Reyes",
        "Holm",
        "Haddad",
        "Brandt",
        "Winter",
        "Petrov",
        "Klein",
        "Marsh",
        "Keller",
        "Fuchs",
    ],
    ["Olsen", "Weber", "Rossi", "Stein", "Franke"],
    [
        "Adler",
        "Bianchi",
        "Cohen",
        "Duarte",
        "Engel",
        "Farah",
        "Gruber",
        "Hansen",
        "Ito",
        "Janssen",
        "Kowal",
        "Lopez",
        "Meier",
    ],
]
STYLES = [
    [
        "oak",
        "glass",
        "copper",
        "linen",
        "brass",
        "slate",
        "green",
        "striped",
        "round",
        "folding",
        "tall",
        "small",
        "ivory",
        "amber",
    ],
    ["walnut", "grey", "velvet", "enamel", "square", "narrow"],
    ["bamboo", "marble", "steel", "cotton", "bronze", "blue", "checked", "oval", "wide", "ceramic"],
]
KINDS = [
    ["lamp", "kettle", "shelf", "rug", "mirror", "bench", "vase", "clock", "tray", "chair"],
    ["desk", "bowl", "mat", "stool"],
    ["table", "blanket", "basket", "pillow", "jug", "rack"],
]
PRODUCTS = [[f"{style} {kind}" for style in STYLES[part] for kind in KINDS[part]] for part in range(3)]

ORDER_QUESTIONS = [
    [
        "Where is my order {order}?",
        "Hi, any news on order {order}?",
        "What is the status of {order}, please?",
        "I ordered the {item}. When does it come? It is order {order}.",
        "Hello, {customer} here. What about my order {order}?",
        "Can you check order {order} for me?",
    ],
    ["Order {order}: how far is it?", "Is there an update for {order}?"],
    [
        "I am still waiting for my {item} ({order}). What is going on?",
        "Could you look up what happened to {order}?",
        "My order number is {order}. Please tell me how it stands.",
        "It is {customer} again. How are things with {order}?",
        "Tell me about {order}, I want to plan my week.",
    ],
]
PRODUCT_QUESTIONS = [
    [
        "Which {kind} can you recommend?",
        "I am looking for a {kind}. What do you suggest?",
        "I need a {kind} for my flat. Any idea?",
        "Please recommend a {kind} that I can get now.",
        "What {kind} should I buy?",
    ],
    ["Is there a good {kind} in your shop?", "Which {kind} would you take?"],
    [
        "My sister wishes for a {kind}. What would you give her?",
        "We have just moved and lack a {kind}. What have you got?",
        "Help me pick a {kind}, please.",
        "A friend told me that you sell a nice {kind}. Which one is it?",
    ],
]

ANSWERS = {
    "processing": "Hi {first}, order {order} with your {item} is being packed and leaves us on {date}. "
    "You can still change the address until then.",
    "shipped": "Hi {first}, order {order} with your {item} is on its way and arrives on {date}. "
    "I can send you the tracking link.",
    "delivered": "Hi {first}, order {order} with your {item} was delivered on {date}. "
    "Please tell me if you cannot find the parcel.",
    "delayed": "Hi {first}, sorry, order {order} with your {item} is delayed and now arrives on {date}. "
    "You can cancel free of charge.",
    "cancelled": "Hi {first}, order {order} with your {item} was cancelled on {date}. "
    "The money is on its way back to your card.",
}
RECOMMENDATION = "I suggest the {product} for {price} euros: it is in stock. Shall I put it into your basket?"
VAGUE = [
    "How can I assist you today?",
    "Thank you for your message. We are always happy to help our customers.",
    "Please check our website for more information.",
    "I am sorry, I do not have access to this information.",
]
