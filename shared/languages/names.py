"""Other codes and names of languages, for `language_code`. Codes and English names: ISO 639-1, -2 and -3.

A line each: code, other codes (639-2/T or 639-3, 639-2/B, codes of the individual language that a macrolanguage's code
usually means, codes in former use), then names after the bar: what speakers call it, and other English names.
"""

from __future__ import annotations

# Languages that Whisper has a token for; their English names are `LANGUAGES`.
SPOKEN_BY_WHISPER = """\
af afr | Afrikaans
am amh | አማርኛ
ar ara arb arz apc | العربية, عربي
as asm | অসমীয়া
az aze azj | Azərbaycan dili, azərbaycanca, Azeri
ba bak | башҡорт теле, башҡортса
be bel | беларуская, Belorussian
bg bul | български
bn ben | বাংলা, Bangla
bo bod tib | བོད་སྐད་, Standard Tibetan
br bre | brezhoneg
bs bos | bosanski
ca cat | català, Valencian, valencià
cs ces cze | čeština, česky
cy cym wel | Cymraeg
da dan | dansk
de deu ger | Deutsch
el ell gre | ελληνικά, Modern Greek
en eng | English
es spa | español, Castilian, castellano
et est ekk | eesti
eu eus baq | euskara
fa fas per pes prs | فارسی, Farsi, Dari
fi fin | suomi
fo fao | føroyskt, Faeroese
fr fra fre | français
gl glg | galego
gu guj | ગુજરાતી
ha hau | هَوُسَ
haw haw | ʻŌlelo Hawaiʻi
he heb iw | עברית
hi hin | हिन्दी, हिंदी
hr hrv | hrvatski
ht hat | kreyòl ayisyen, kreyòl, Haitian
hu hun | magyar
hy hye arm | հայերեն
id ind in | bahasa Indonesia
is isl ice | íslenska
it ita | italiano
ja jpn | 日本語
jw jv jav | basa Jawa
ka kat geo | ქართული
kk kaz | қазақ тілі, қазақша
km khm | ខ្មែរ, ភាសាខ្មែរ, Central Khmer
kn kan | ಕನ್ನಡ
ko kor | 한국어
la lat | lingua latina, Latina
lb ltz | Lëtzebuergesch, Letzeburgesch
ln lin | lingála
lo lao | ລາວ
lt lit | lietuvių
lv lav lvs | latviešu
mg mlg plt | malagasy
mi mri mao | te reo Māori, Māori
mk mkd mac | македонски
ml mal | മലയാളം
mn mon khk | монгол
mr mar | मराठी
ms msa may zsm | bahasa Melayu
mt mlt | Malti
my mya bur | မြန်မာ, Myanmar
ne nep npi | नेपाली
nl nld dut | Nederlands, Flemish, Vlaams
nn nno | nynorsk, norsk nynorsk
no nor nb nob | norsk, bokmål, norsk bokmål, Norwegian Bokmål
oc oci | occitan
pa pan | ਪੰਜਾਬੀ, Panjabi
pl pol | polski
ps pus pbt | پښتو, Pushto
pt por | português
ro ron rum mo | română, Moldavian, Moldovan
ru rus | русский
sa san | संस्कृतम्
sd snd | سنڌي
si sin | සිංහල, Sinhalese
sk slk slo | slovenčina
sl slv | slovenščina, Slovene
sn sna | chiShona
so som | Soomaali
sq sqi alb als | shqip
sr srp | српски, srpski
su sun | basa Sunda
sv swe | svenska
sw swa swh | Kiswahili
ta tam | தமிழ்
te tel | తెలుగు
tg tgk | тоҷикӣ
th tha | ไทย, ภาษาไทย
tk tuk | türkmençe, türkmen dili
tl tgl fil | Filipino
tr tur | Türkçe
tt tat | татарча, татар теле
uk ukr | українська
ur urd | اردو
uz uzb uzn | oʻzbekcha, o'zbek
vi vie | Tiếng Việt
yi yid ji ydd | ייִדיש
yo yor | Yorùbá
yue yue | 粵語, 粤语, 廣東話, 广东话
zh zho chi cmn | 中文, 汉语, 漢語, 普通话, 普通話, 國語, 国语, Mandarin, Mandarin Chinese
"""

# Languages that Whisper has no token for; a checkpoint may have been given one. The first name is the English one.
OTHERS = """\
aa aar | Afar
ab abk | Abkhazian, Abkhaz, аԥсуа
ak aka | Akan
an arg | Aragonese, aragonés
av ava | Avaric, Avar
ay aym | Aymara
bi bis | Bislama
bm bam | Bambara, bamanankan
ce che | Chechen, нохчийн
ch cha | Chamorro
co cos | Corsican, corsu
cr cre | Cree
cv chv | Chuvash, чӑвашла
dv div | Divehi, Dhivehi, Maldivian
dz dzo | Dzongkha
ee ewe | Ewe, Eʋegbe
eo epo | Esperanto
ff ful fuv | Fulah, Fula
fj fij | Fijian
fy fry | Western Frisian, Frisian, Frysk
ga gle | Irish, Gaeilge
gd gla | Scottish Gaelic, Gàidhlig
gn grn | Guarani, avañe'ẽ
gv glv | Manx, Gaelg
hz her | Herero
ia ina | Interlingua
ie ile | Interlingue, Occidental
ig ibo | Igbo
ii iii | Sichuan Yi, Nuosu
ik ipk | Inupiaq
io ido | Ido
iu iku | Inuktitut
ki kik | Kikuyu, Gikuyu
kj kua | Kuanyama, Kwanyama
kl kal | Kalaallisut, Greenlandic
kr kau | Kanuri
ks kas | Kashmiri
ku kur kmr | Kurdish, kurdî, Kurmanji, Northern Kurdish
kv kom | Komi
kw cor | Cornish, Kernewek
ky kir | Kyrgyz, Kirghiz, кыргызча, кыргыз тили
lg lug | Ganda, Luganda
li lim | Limburgish, Limburgan, Limburgs
lu lub | Luba-Katanga
mh mah | Marshallese
na nau | Nauru
nd nde | North Ndebele
ng ndo | Ndonga
nr nbl | South Ndebele
nv nav | Navajo, Navaho, Diné bizaad
ny nya | Chichewa, Chewa, Nyanja
oj oji | Ojibwa
om orm | Oromo, Afaan Oromoo
or ori ory | Odia, Oriya, ଓଡ଼ିଆ
os oss | Ossetian, Ossetic, ирон
pi pli | Pali
qu que quy | Quechua, Runasimi
rm roh | Romansh, rumantsch
rn run | Rundi, Kirundi
rw kin | Kinyarwanda
sc srd | Sardinian, sardu
se sme | Northern Sami, davvisámegiella
sg sag | Sango
sm smo | Samoan
ss ssw | Swati
st sot | Southern Sotho, Sesotho
ti tir | Tigrinya, ትግርኛ
tn tsn | Tswana, Setswana
to ton | Tonga
ts tso | Tsonga, Xitsonga
tw twi | Twi
ty tah | Tahitian
ug uig | Uyghur, Uighur, ئۇيغۇرچە
ve ven | Venda
vo vol | Volapük
wa wln | Walloon, walon
wo wol | Wolof
xh xho | Xhosa, isiXhosa
za zha | Zhuang, Chuang
zu zul | Zulu, isiZulu
ace | Achinese
ady | Adyghe
alt | Southern Altai
ast | Asturian, asturianu
awa | Awadhi
ban | Balinese
bas | Basaa, Basa
bem | Bemba
bho | Bhojpuri
brx | Bodo
ceb | Cebuano
ckb | Central Kurdish, Sorani
cnh | Hakha Chin
crh | Crimean Tatar
doi | Dogri
dsb | Lower Sorbian, dolnoserbšćina
dyu | Dyula
fur | Friulian, furlan
gag | Gagauz
gsw | Swiss German, Schwyzerdütsch
hak | Hakka Chinese, Hakka
hne | Chhattisgarhi
hsb | Upper Sorbian, Sorbian, hornjoserbšćina
ilo | Iloko, Ilocano
inh | Ingush
kab | Kabyle, taqbaylit
kam | Kamba
kbd | Kabardian
kea | Kabuverdianu
kha | Khasi
krc | Karachay-Balkar
kum | Kumyk
lez | Lezghian
lij | Ligurian
ltg | Latgalian
luo | Luo
lus | Lushai, Mizo
lzz | Laz
mag | Magahi
mai | Maithili
mdf | Moksha
mhr | Eastern Mari, Meadow Mari
min | Minangkabau
mni | Manipuri, Meitei
mrj | Western Mari, Hill Mari
myv | Erzya
nan | Min Nan Chinese, Taiwanese, Hokkien
nds | Low German, Plattdüütsch
nhi | Zacatlán-Ahuacatlán-Tepetzintla Nahuatl
nog | Nogai
nso | Northern Sotho, Pedi, Sepedi
pap | Papiamento
rup | Aromanian, Macedo-Romanian
sah | Yakut, Sakha, саха тыла
sat | Santali
scn | Sicilian, sicilianu
sco | Scots
skr | Saraiki
szl | Silesian
tig | Tigre
tok | Toki Pona
tpi | Tok Pisin
tyv | Tuvan, Tuvinian
umb | Umbundu
vec | Venetian
vot | Votic
war | Waray
wuu | Wu Chinese, Shanghainese
zgh | Standard Moroccan Tamazight, Tamazight
"""
