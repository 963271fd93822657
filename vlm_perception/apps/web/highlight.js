// Run by Gradio once the table of objects (`element`) is there: a row that is pointed at, focused or chosen shows its
// place in the picture. Places are shares of the image's width: the picture may be smaller, and higher by its caption.
// The box of a chosen row can be asked about while the picture that the answer is about is the one to ask about; part.js
// puts it into the prompt.
const MARK = 'highlight'

let marked = null

function clear() {
  marked = null
  document.querySelectorAll(`#picture .${MARK}`).forEach(mark => mark.remove())
}

function show(row) {
  clear()
  const image = document.querySelector('#picture img')
  if (!row || !image || !image.naturalWidth) return
  marked = row
  const places = row.dataset.place.split(' ').map(Number)
  const shown = image.getBoundingClientRect()
  const frame = image.parentElement.getBoundingClientRect()
  // `object-fit: contain` leaves bars at two sides.
  const scale = Math.min(shown.width / image.naturalWidth, shown.height / image.naturalHeight)
  const x = shown.left - frame.left + (shown.width - image.naturalWidth * scale) / 2
  const y = shown.top - frame.top + (shown.height - image.naturalHeight * scale) / 2
  const [left, top, right, bottom] = (places.length === 4 ? places : [...places, ...places]).map(
    share => share * image.naturalWidth * scale
  )
  const mark = document.createElement('div')
  mark.className = places.length === 4 ? MARK : `${MARK} point`
  mark.dataset.object = row.cells[0].textContent
  mark.style.left = `${x + left}px`
  mark.style.top = `${y + top}px`
  mark.style.width = `${right - left}px`
  mark.style.height = `${bottom - top}px`
  image.parentElement.style.position = 'relative'
  image.parentElement.append(mark)
}

const rowOf = event => event.target.closest('tr[data-place]')
const inside = () => element.querySelector('button.inside')
const chosen = () => element.querySelector('tr[aria-current]')

// An earlier answer may be shown, or another picture loaded since; a live camera's is nowhere to be drawn on.
function isLoaded() {
  const image = document.querySelector('#image .image-frame img')
  return Boolean(image) && decodeURIComponent(image.src).endsWith(inside().dataset.image)
}

function offer() {
  if (inside()) inside().hidden = chosen()?.dataset.place.split(' ').length !== 4 || !isLoaded()
}

function choose(row) {
  const before = chosen()
  before?.removeAttribute('aria-current')
  if (row !== before) row.setAttribute('aria-current', 'true')
  show(chosen())
  offer()
  document.querySelector('#picture').scrollIntoView({behavior: 'smooth', block: 'nearest'})
}

element.addEventListener('pointerover', event => show(rowOf(event) ?? chosen()))
element.addEventListener('pointerleave', () => show(chosen()))
element.addEventListener('focusin', event => show(rowOf(event) ?? chosen()))
element.addEventListener('focusout', () => show(chosen()))
element.addEventListener('click', event => {
  if (rowOf(event)) choose(rowOf(event))
  if (event.target !== inside()) return
  offer()
  if (inside().hidden) return
  const places = chosen().dataset.place.split(' ').map(Number)
  dispatchEvent(new CustomEvent('part', {detail: places.map(share => share * inside().dataset.imageW)}))
})
element.addEventListener('keydown', event => {
  if (!rowOf(event) || !['Enter', ' '].includes(event.key)) return
  event.preventDefault()
  choose(rowOf(event))
})
addEventListener('resize', () => show(marked))
// That of an image does not reach the window.
document.addEventListener('load', event => event.target.closest?.('#image') && offer(), true)
watch('value', clear)
