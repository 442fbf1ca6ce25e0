// Characters that are another one in a different width, position or typeface, and ligatures: those that
// shared/wer/normaliser.py replaces by their plain form. From Python's unicodedata 14.0.0; a test compares every code point.

export const SHAPES = new RegExp("^[" +
  String.raw`\u{133}\u{2102}\u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}\u{2124}\u{2128}\u{212c}-\u{212d}\u{212f}-\u{2131}` +
  String.raw`\u{2133}-\u{2134}\u{2139}\u{213c}-\u{2140}\u{2145}-\u{2149}\u{3000}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}` +
  String.raw`\u{fb20}-\u{fb29}\u{fb50}-\u{fbb1}\u{fbd3}-\u{fd3d}\u{fd50}-\u{fd8f}\u{fd92}-\u{fdc7}\u{fdf0}-\u{fdfc}` +
  String.raw`\u{fe70}-\u{fe72}\u{fe74}\u{fe76}-\u{fefc}\u{ff01}-\u{ffbe}\u{ffc2}-\u{ffc7}\u{ffca}-\u{ffcf}` +
  String.raw`\u{ffd2}-\u{ffd7}\u{ffda}-\u{ffdc}\u{ffe0}-\u{ffe6}\u{ffe8}-\u{ffee}\u{1d400}-\u{1d454}\u{1d456}-\u{1d49c}` +
  String.raw`\u{1d49e}-\u{1d49f}\u{1d4a2}\u{1d4a5}-\u{1d4a6}\u{1d4a9}-\u{1d4ac}\u{1d4ae}-\u{1d4b9}\u{1d4bb}` +
  String.raw`\u{1d4bd}-\u{1d4c3}\u{1d4c5}-\u{1d505}\u{1d507}-\u{1d50a}\u{1d50d}-\u{1d514}\u{1d516}-\u{1d51c}` +
  String.raw`\u{1d51e}-\u{1d539}\u{1d53b}-\u{1d53e}\u{1d540}-\u{1d544}\u{1d546}\u{1d54a}-\u{1d550}\u{1d552}-\u{1d6a5}` +
  String.raw`\u{1d6a8}-\u{1d7cb}\u{1d7ce}-\u{1d7ff}\u{1ee00}-\u{1ee03}\u{1ee05}-\u{1ee1f}\u{1ee21}-\u{1ee22}\u{1ee24}` +
  String.raw`\u{1ee27}\u{1ee29}-\u{1ee32}\u{1ee34}-\u{1ee37}\u{1ee39}\u{1ee3b}\u{1ee42}\u{1ee47}\u{1ee49}\u{1ee4b}` +
  String.raw`\u{1ee4d}-\u{1ee4f}\u{1ee51}-\u{1ee52}\u{1ee54}\u{1ee57}\u{1ee59}\u{1ee5b}\u{1ee5d}\u{1ee5f}` +
  String.raw`\u{1ee61}-\u{1ee62}\u{1ee64}\u{1ee67}-\u{1ee6a}\u{1ee6c}-\u{1ee72}\u{1ee74}-\u{1ee77}\u{1ee79}-\u{1ee7c}` +
  String.raw`\u{1ee7e}\u{1ee80}-\u{1ee89}\u{1ee8b}-\u{1ee9b}\u{1eea1}-\u{1eea3}\u{1eea5}-\u{1eea9}\u{1eeab}-\u{1eebb}` +
  String.raw`\u{1fbf0}-\u{1fbf9}` +
  "]$", "u");
