"""Prompts that paraphrase none of the groups: every intent asked of every topic, by language."""

from random import Random

INTENTS = {
    "en": """What is the history of {}?
Write a short story about {}.
How do I get started with {}?
Give me five interesting facts about {}.
I'm afraid of {}, what can I do?
Compare {} with its alternatives.
What mistakes do beginners make with {}?
Explain {} to an expert.
Why do people love {}?
How much does {} cost on average?
Write a product description for {}.
What are the risks of {}?
Make a quiz with ten questions on {}.
Which books about {} should I read?
Plan a school lesson on {}.
Is {} good for the environment?
Write a limerick on {}.
What would the world be without {}?
How has {} changed in the last fifty years?
Argue against {}.
Find me a slogan for a shop that sells {}.
What laws apply to {}?
Describe {} in three words.
How do professionals earn money with {}?
My grandmother hates {}. How can I change her mind?
Create a checklist for {}.
What is the science behind {}?
Who invented {}?
Give me a metaphor for {}.
Where in Europe is {} most popular?
What is a good gift for a fan of {}?
Translate the word for {} into Latin.
How do children learn about {} at school?
Write a newspaper headline about {}.""",
    "es": """¿Cuál es la historia de {}?
Escribe un cuento corto sobre {}.
¿Cómo empiezo con {}?
Dame cinco datos curiosos sobre {}.
Me da miedo {}, ¿qué hago?
Compara {} con sus alternativas.
¿Qué errores cometen los principiantes con {}?
Explica {} a un experto.
¿Por qué a la gente le encanta {}?
¿Cuánto cuesta {} de media?
Redacta una descripción comercial de {}.
¿Qué riesgos tiene {}?
Haz un cuestionario de diez preguntas sobre {}.
¿Qué libros sobre {} debería leer?
Prepara una clase escolar sobre {}.
¿Es {} bueno para el medio ambiente?
Escribe unos versos graciosos sobre {}.
¿Cómo sería el mundo sin {}?
¿Cómo ha cambiado {} en cincuenta años?
Argumenta en contra de {}.
Busca un lema para una tienda de {}.
¿Qué leyes regulan {}?
Describe {} en tres palabras.
¿Cómo ganan dinero los profesionales con {}?
Mi abuela odia {}. ¿Cómo la convenzo?
Crea una lista de comprobación para {}.
¿Qué ciencia hay detrás de {}?
¿Quién inventó {}?
Dame una metáfora de {}.
¿Dónde de Europa es más popular {}?
¿Qué regalo le hago a un aficionado a {}?
Traduce {} al latín.
¿Cómo aprenden los niños sobre {} en la escuela?
Escribe un titular de periódico sobre {}.""",
    "zh": """{}的历史是怎样的?
写一篇关于{}的小故事。
怎么开始接触{}?
说五个关于{}的有趣事实。
我害怕{},怎么办?
把{}和其他选择比较一下。
新手在{}上常犯什么错误?
向专家讲解{}。
人们为什么喜欢{}?
{}平均要花多少钱?
为{}写一段产品介绍。
{}有什么风险?
出十道关于{}的测验题。
关于{}应该读哪些书?
设计一堂讲{}的课。
{}对环境好吗?
写一首关于{}的打油诗。
没有{}世界会怎样?
五十年来{}发生了什么变化?
请反对{},给出论据。
给卖{}的店想一句口号。
{}受哪些法律约束?
用三个词形容{}。
专业人士怎么靠{}赚钱?
我奶奶讨厌{},怎么让她改变看法?
列一份{}的检查清单。
{}背后的科学是什么?
{}是谁发明的?
给{}打个比方。
欧洲哪里最流行{}?
给喜欢{}的人送什么礼物好?
{}用拉丁语怎么说?
孩子们在学校怎么学习{}?
写一条关于{}的新闻标题。""",
    "code": """Write a {} in Python.
How would you implement a {} in Go?
Design the database schema of a {}.
What data structures does a {} need?
My {} leaks memory, where do I look?
Write integration tests for a {}.
Review the architecture of a {} in Java.
Add logging to my {} written in Rust.
Which library should I use for a {} in Node.js?
Draw a class diagram of a {}.
How do I deploy a {} on Kubernetes?
Make a command line interface for a {}.
Port a {} from PHP to TypeScript.
How do I make a {} thread-safe in C++?
Write the README of a {}.
Add authentication to a {} built with Django.
What are the security holes of a typical {}?
Estimate the effort to build a {}.
Write a GraphQL API for a {}.
Profile and speed up a {} in Ruby.
Explain the algorithm behind a {}.
Handle errors properly in a {} in Swift.
How do I store the state of a {} in Redis?
Write a bash script that restarts a {}.
Create a React front end for a {}.
How do I mock a {} in unit tests?
Make a {} configurable with YAML.
How can a {} scale to a million users?
Document the REST endpoints of a {}.
Refactor a {} into smaller modules.
Add a dark mode to my {}.
Which licence suits an open source {}?
Translate the user interface of a {} into Spanish.
How do I monitor a {} with Prometheus?""",
}
TOPICS = {
    "en": """chess; beekeeping; jazz; volcanoes; sourdough bread; electric bicycles; tattoos; origami; whales;
marathon running; medieval castles; robots; perfume; opera; mushrooms; black tea; sailing; yoga;
dinosaurs; fireworks; knitting; lotteries; antique clocks; surfing; tarot cards; hot air balloons;
cheese; deserts; typewriters; space tourism; karate; orchids; wind turbines; comic books; submarines;
saunas; puppets; glaciers; street food; horse riding; podcasts; sleepwalking; drones; chocolate;
mountain climbing; coral reefs; umbrellas; vinyl records; fishing; nuclear power; ballet; spiders;
camping; crossword puzzles; bamboo; tea ceremonies; earthquakes; skateboards; sign language;
lighthouses; honey; photography; glass blowing; pigeons; cryptocurrency; bridges; winter swimming;
magic tricks; hedgehogs; wooden toys; sumo wrestling; vitamins; parachutes; mosaics""",
    "es": """el ajedrez; la apicultura; el jazz; los volcanes; el pan de masa madre; las bicicletas eléctricas;
los tatuajes; el origami; las ballenas; los maratones; los castillos medievales; los robots;
el perfume; la ópera; las setas; el té negro; la navegación a vela; el yoga; los dinosaurios;
los fuegos artificiales; el ganchillo; la lotería; los relojes antiguos; el surf; el tarot;
los globos aerostáticos; el queso; los desiertos; las máquinas de escribir; el turismo espacial;
el kárate; las orquídeas; los aerogeneradores; los cómics; los submarinos; las saunas; los títeres;
los glaciares; la comida callejera; la equitación; los podcasts; el sonambulismo; los drones;
el chocolate; la escalada; los arrecifes de coral; los paraguas; los discos de vinilo; la pesca;
la energía nuclear; el ballet; las arañas; acampar; los crucigramas; el bambú; la ceremonia del té;
los terremotos; los monopatines; la lengua de signos; los faros; la miel; la fotografía;
el vidrio soplado; las palomas; las criptomonedas; los puentes; nadar en invierno; la magia;
los erizos; los juguetes de madera; el sumo; las vitaminas; los paracaídas; los mosaicos""",
    "zh": """国际象棋; 养蜂; 爵士乐; 火山; 酸面包; 电动自行车; 纹身; 折纸; 鲸鱼; 马拉松; 中世纪城堡; 机器人; 香水;
歌剧; 蘑菇; 红茶; 帆船; 瑜伽; 恐龙; 烟花; 编织; 彩票; 古董钟; 冲浪; 塔罗牌; 热气球; 奶酪; 沙漠;
打字机; 太空旅游; 空手道; 兰花; 风力发电机; 漫画; 潜水艇; 桑拿; 木偶戏; 冰川; 街头小吃; 骑马; 播客;
梦游; 无人机; 巧克力; 登山; 珊瑚礁; 雨伞; 黑胶唱片; 钓鱼; 核能; 芭蕾; 蜘蛛; 露营; 填字游戏; 竹子;
茶道; 地震; 滑板; 手语; 灯塔; 蜂蜜; 摄影; 吹玻璃; 鸽子; 加密货币; 桥梁; 冬泳; 魔术; 刺猬; 木制玩具;
相扑; 维生素; 降落伞; 马赛克""",
    "code": """chat server; spell checker; weather widget; tax calculator; chess engine; web crawler; photo gallery;
URL shortener; text editor; recommendation engine; game of snake; log analyser; music player;
booking system; raytracer; stock ticker; voting app; file synchroniser; PDF generator; job queue;
video transcoder; quiz app; map viewer; password manager; sudoku solver; shopping cart; blog engine;
DNS server; barcode scanner; email client; load balancer; currency converter; thermostat controller;
speech recogniser; package manager; wiki; neural network; calendar app; rate limiter;
feature flag service; maze generator; fitness tracker; invoice system; audio synthesizer;
bloom filter; search index; parking simulator; translation memory; flight tracker; key-value store;
drawing program; RSS reader; compiler; payment gateway; sensor dashboard; genealogy tree;
library catalogue; screen recorder; template engine; ticket system; physics engine; IRC bot;
backup tool; address book; recipe finder; elevator controller; face detector; markdown parser;
multiplayer lobby; podcast host; timesheet; warehouse robot; virtual machine; auction site""",
}


def make_prompts(language: str, random: Random) -> list[str]:
    """Ask every intent of every topic, shuffled: 2,516 prompts, no two of which ask the same."""
    topics = [" ".join(topic.split()) for topic in TOPICS[language].split(";")]
    prompts = [intent.format(topic) for intent in INTENTS[language].splitlines() for topic in topics]
    random.shuffle(prompts)
    return prompts
