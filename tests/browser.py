"""What tests ask a browser about a page."""

# WCAG 2.1, 1.4.3: 4.5 for text, 3 for large text; returns the elements that have less
CONTRAST = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const linear = value => value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
  const share = [.2126, .7152, .0722];
  const luminance = colour => share.reduce((sum, part, i) => sum + part * linear(colour[i] / 255), 0);
  const background = element => {
    for (let around = element; around; around = around.parentElement) {
      const colour = parse(getComputedStyle(around).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const bad = new Set();
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
    if (element.closest('svg, script, style')) continue;
    const style = getComputedStyle(element);
    const [text, paper] = [luminance(parse(style.color)), luminance(background(element))];
    const ratio = (Math.max(text, paper) + .05) / (Math.min(text, paper) + .05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) bad.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return [...bad];
}"""
