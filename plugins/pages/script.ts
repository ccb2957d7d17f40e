/**
 * The one script of the pages. Everything works without it. It shows the buttons that copy a list,
 * which need script.
 */
export const script = `for (const button of document.querySelectorAll('button[data-copy]')) {
  if (!navigator.clipboard) continue
  button.hidden = false
  button.addEventListener('click', async () => {
    const items = document.getElementById(button.dataset.copy).querySelectorAll('li')
    await navigator.clipboard.writeText([...items].map((item) => item.textContent.trim()).join('\\n'))
    button.textContent = button.dataset.done
  })
}
`
