// Run by Gradio once the hint under the image is there. A box that is drawn on the image to ask about, or taken from the
// answer (highlight.js), goes in front of the prompt as "in [left, top, right, bottom]: ", in pixels of the image: what
// the node takes too. With a finger one scrolls, so boxes are drawn with a mouse or a pen.
const PART = /^\s*in \[[^\]]*\]\s*[:：]\s*/
// A shorter pull is a click, and takes the part away; so is one within a pixel of an image that is shown enlarged.
const LEAST_PX = 4

let begun = null
let mark = null

// Gradio makes the image later than this runs, and anew for each file.
const imageOf = event => event.target.closest?.('#image .image-frame img')

function write(xyxy) {
  const prompt = document.querySelector('#prompt textarea')
  const asked = prompt.value.replace(PART, '')
  prompt.value = xyxy ? `in [${xyxy.join(', ')}]: ${asked}` : asked
  prompt.dispatchEvent(new Event('input', {bubbles: true}))
  return prompt
}

function clear() {
  mark?.remove()
  mark = null
}

// Where the image's pixels are in the window; `object-fit` leaves bars at two sides.
function placeOf(image) {
  const shown = image.getBoundingClientRect()
  const scale = Math.min(shown.width / image.naturalWidth, shown.height / image.naturalHeight)
  return {
    scale,
    left: shown.left + (shown.width - image.naturalWidth * scale) / 2,
    top: shown.top + (shown.height - image.naturalHeight * scale) / 2,
  }
}

function pixelAt(image, event) {
  const {scale, left, top} = placeOf(image)
  const within = (value, most) => Math.min(Math.max(value / scale, 0), most)
  return [within(event.clientX - left, image.naturalWidth), within(event.clientY - top, image.naturalHeight)]
}

function pulled(event) {
  const [x, y] = pixelAt(begun.image, event)
  return [Math.min(x, begun.x), Math.min(y, begun.y), Math.max(x, begun.x), Math.max(y, begun.y)]
}

function draw(image, xyxy) {
  clear()
  const place = placeOf(image)
  const frame = image.parentElement.getBoundingClientRect()
  const [left, top, right, bottom] = xyxy.map(side => side * place.scale)
  mark = document.createElement('div')
  mark.className = 'highlight'
  mark.style.left = `${place.left - frame.left + left}px`
  mark.style.top = `${place.top - frame.top + top}px`
  mark.style.width = `${right - left}px`
  mark.style.height = `${bottom - top}px`
  image.parentElement.style.position = 'relative'
  image.parentElement.append(mark)
}

addEventListener('dragstart', event => imageOf(event) && event.preventDefault())
addEventListener('pointerdown', event => {
  const image = imageOf(event)
  if (!image?.naturalWidth || event.button || event.pointerType === 'touch') return
  clear()
  const [x, y] = pixelAt(image, event)
  begun = {image, x, y}
})
addEventListener('pointermove', event => begun && draw(begun.image, pulled(event)))
addEventListener('pointerup', event => {
  if (!begun) return
  const xyxy = pulled(event)
  const {scale} = placeOf(begun.image)
  begun = null
  const least = ([left, top, right, bottom]) => Math.min(right - left, bottom - top)
  const whole = xyxy.map(Math.round)
  const isBox = least(xyxy) * scale >= LEAST_PX && least(whole) >= 1
  if (!isBox) clear()
  write(isBox ? whole : null)
})
// The browser or the pen took the pointer away: nothing was drawn, and the prompt stays.
addEventListener('pointercancel', () => {
  if (begun) clear()
  begun = null
})
// Another image, of which the window is not told, or a part that was edited by hand.
document.addEventListener('load', event => imageOf(event) && clear(), true)
addEventListener('input', event => event.isTrusted && event.target.closest('#prompt') && clear())
addEventListener('part', event => {
  const image = document.querySelector('#image .image-frame img')
  if (image?.naturalWidth) draw(image, event.detail)
  const prompt = write(event.detail.map(Math.round))
  prompt.focus()
  prompt.scrollIntoView({behavior: 'smooth', block: 'nearest'})
})
