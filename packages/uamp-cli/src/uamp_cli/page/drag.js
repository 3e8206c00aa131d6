// Drag a box on the picture with the mouse or a pen. Gradio tells of clicks on a picture but not of drags; this tells the
// page about them through the hidden field #uamp-drag, as JSON of the corners in pixels of the shown picture. A finger
// scrolls the page, so on a touch screen a box is made of two taps.
(() => {
  const SHORTEST = 6; // CSS pixels: below that it is a click whose hand was not quite still
  let drag = null; // what is being dragged: the picture, where it began, the rectangle that shows it
  let swallowsClick = false;

  const pictureOf = (event) => event.target.closest?.('#uamp-picture')?.querySelector('img') ?? null;

  // Where a point of the window is in the picture, which is centred in its element and never enlarged.
  const locate = (picture, [x, y]) => {
    const frame = picture.getBoundingClientRect();
    const { naturalWidth: width, naturalHeight: height } = picture;
    const scale = Math.min(frame.width / width, frame.height / height, 1);
    const inside = (value, start, room, size) =>
      Math.min(Math.max((value - start - (room - size * scale) / 2) / scale, 0), size);
    return [inside(x, frame.left, frame.width, width), inside(y, frame.top, frame.height, height)];
  };

  const drawBand = (from, to) => {
    Object.assign(drag.band.style, {
      left: `${Math.min(from[0], to[0])}px`,
      top: `${Math.min(from[1], to[1])}px`,
      width: `${Math.abs(to[0] - from[0])}px`,
      height: `${Math.abs(to[1] - from[1])}px`,
    });
  };

  const end = () => {
    drag?.band?.remove();
    drag = null;
  };

  const send = (corners) => {
    const field = document.querySelector('#uamp-drag textarea, #uamp-drag input');
    // with the time, the same box drawn again is a change of the field too
    field.value = JSON.stringify({ corners, at: performance.now() });
    field.dispatchEvent(new Event('input', { bubbles: true }));
  };

  document.addEventListener('pointerdown', (event) => {
    end();
    swallowsClick = false;
    const picture = pictureOf(event);
    if (picture && event.button === 0 && event.pointerType !== 'touch') {
      drag = { picture, pointer: event.pointerId, from: [event.clientX, event.clientY], band: null };
    }
  }, true);

  document.addEventListener('pointermove', (event) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    const to = [event.clientX, event.clientY];
    if (!drag.band && Math.hypot(to[0] - drag.from[0], to[1] - drag.from[1]) >= SHORTEST) {
      drag.band = document.createElement('div');
      drag.band.className = 'uamp-band';
      document.body.append(drag.band);
    }
    if (drag.band) drawBand(drag.from, to);
  }, true);

  document.addEventListener('pointerup', (event) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    const { picture, from, band } = drag;
    end();
    if (!band) return;
    swallowsClick = true;
    send([...locate(picture, from), ...locate(picture, [event.clientX, event.clientY])]);
  }, true);

  document.addEventListener('click', (event) => {
    if (swallowsClick) event.stopPropagation();
    swallowsClick = false;
  }, true);
  // the browser would drag the picture itself away
  document.addEventListener('dragstart', (event) => { if (pictureOf(event)) event.preventDefault(); }, true);
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !drag) return;
    end();
    swallowsClick = true; // letting the button go is no click on the picture
  }, true);
  document.addEventListener('pointercancel', end, true);
  window.addEventListener('blur', end);
})();
