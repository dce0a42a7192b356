// Writes {Width, Texts, Findings} as JSON into the page: which texts overlap,
// which stick out of the window or of their bar, which words are broken.
(() => {
  const texts = [], findings = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, text = node.data.trim();
    if (!text || ['SCRIPT', 'STYLE'].includes(node.parentElement.tagName)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width > 0 && box.height > 0) texts.push({ text, node, box });
    }
    for (const word of node.data.matchAll(/[^\s-]+/g)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const boxes = [...range.getClientRects()].filter(box => box.width > 0);
      if (boxes.some(box => box.top > boxes[0].top + 2)) findings.push(`"${word[0]}" is broken`);
    }
  }
  // Two pixels are no overlap: a line's box is higher than its letters.
  const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
  texts.forEach((a, i) => texts.slice(i + 1).forEach(b => {
    if (a.node !== b.node && overlap(a.box, b.box)) findings.push(`"${a.text}" and "${b.text}" overlap`);
  }));
  const width = document.documentElement.scrollWidth;
  if (width > window.innerWidth) findings.push(`the page is ${width} pixels wide`);
  for (const { text, box } of texts) {
    if (box.left < 0 || box.right > window.innerWidth) findings.push(`"${text}" sticks out of the window`);
  }
  const bars = [...document.querySelectorAll('rect[rx="5"]')].map(bar => bar.getBoundingClientRect());
  for (const { text, box } of texts) {
    for (const bar of bars) {
      if (overlap(box, bar) && (box.left < bar.left || box.right > bar.right)) findings.push(`"${text}" sticks out of its bar`);
    }
  }
  const pre = document.createElement('pre');
  pre.id = 'layout';
  pre.textContent = JSON.stringify({ Width: window.innerWidth, Texts: texts.length, Findings: findings });
  document.body.append(pre);
})();
