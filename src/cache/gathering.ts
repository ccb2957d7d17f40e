import { setImmediate as turn } from 'node:timers/promises'

/**
 * Joins the questions of one turn of the event loop into one. Each is asked after it came: nobody is answered from a read that began
 * before.
 */
export class Gathering<Answer> {
  readonly #askAll: (ids: readonly string[]) => Promise<readonly Answer[]>
  #open: { ids: string[], answers: Promise<readonly Answer[]> } | null = null

  /** @param askAll answers in the order of the ids; an id may stand more than once */
  constructor(askAll: (ids: readonly string[]) => Promise<readonly Answer[]>) {
    this.#askAll = askAll
  }

  /** Asks about one id, together with whoever else asks now. A fault is told to all of them. */
  ask(id: string): Promise<Answer> {
    this.#open ??= this.#begin()
    const { ids, answers } = this.#open
    const index = ids.push(id) - 1
    return answers.then((all) => {
      if (index >= all.length) throw new Error('fewer answers than questions')
      return all[index] as Answer
    })
  }

  #begin(): { ids: string[], answers: Promise<readonly Answer[]> } {
    const ids: string[] = []
    const answers = turn().then(() => {
      this.#open = null
      return this.#askAll(ids)
    })
    return { ids, answers }
  }
}
