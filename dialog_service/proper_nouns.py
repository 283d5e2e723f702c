"""Words that keep a capital inside a sentence: model text has lost it, ``text`` puts it back.

Frequent ones of everyday talk that are hardly ever anything else: no "mark", no "rose".
"""

PHRASES = (
    "New York",
    "New Zealand",
    "Hong Kong",
    "Los Angeles",
    "Las Vegas",
    "San Francisco",
    "United States",
    "the US",
    "my God",
    "in May",
    "of May",
)
WORDS = """
Monday Tuesday Wednesday Thursday Friday Saturday Sunday Saturdays Sundays January February
March April June July August September October November December Christmas Easter Halloween
Thanksgiving Valentine Santa Mr Mrs Ms Dr
English Chinese French German Italian Japanese American Americans British Spanish Russian
Canadian Indian Dutch Greek Asian European Mexican Latin Korean Australian African Irish
Brazilian Cantonese
China America England France Germany Italy Japan Canada Australia Europe Asia Africa Britain
Taiwan Mexico Thailand Korea Spain Russia Malaysia Singapore Egypt Brazil Switzerland
Scotland India Tibet Beijing Shanghai London Paris Tokyo Boston Chicago Texas California
Washington Rome Sydney Guangzhou Hawaii Florida Seattle Nanjing Suzhou Sichuan Berlin
Bangkok Ottawa Toronto Montreal Madrid Taipei Hollywood Broadway Harvard Yale Oxford
Cambridge Disneyland Manhattan Qingdao
Mary John Tom Bob Smith Jack Jim Mike Jane David Susan Steven Ann Wang Peter Monica Alice
Joe Michael Lucy Jenny Paul Sarah George Jason Helen Anna Sally Cindy Andy Sam Linda Daniel
Kevin Karen Ted James Taylor Richard Julia Rick Liu Jones Janet Betty Amy Dave Zhang Sara
Kate Rebecca Chen Tim Nancy Martin Lisa Henry Francis Johnson Emily Ben Alex Tony Maria Fred
Robert Jimmy Jerry Anne Shirley Harry Ryan Brian Benjamin Wendy Kelly Jill Janice Elizabeth
Tina Laura Julie Johnny William Todd Terry Carl Andrew Matt Eric Diana Catherine Brad
Anthony Sharon Michelle Margaret Judy Jessica Greg Danny Barbara Thomas Kathy Jake Ellen
Becky Alan Allen Simon Rachel Larry Joseph Jeff Claire Chris Cathy Amanda Nathan Wilson
Sophia Steve Elvis
Honda Microsoft Macintosh Barbie Hilton Olympic Olympics Oscar McDonald TV OK CD
DVD ID ATM PC UK USA BMW IBM CEO HR VIP MBA CV IQ NBA USD RMB MSG DJ VCR CPU GPA
"""
