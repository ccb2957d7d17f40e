import { AsyncResource } from 'node:async_hooks'

const PATIENCE_MS = 5
const LONGEST_PATIENCE_MS = 100

/** So many are worth a journey of their own. */
const ENOUGH = 4

export interface GatheringOptions {
  /**
   * How many journeys may be under way before questions wait, however many they are; one where
   * absent.
   */
  journeys?: number
  /**
   * How long questions wait at most while others are being answered, in milliseconds: twice as long
   * for each of those, 100 at most. Five where absent.
   */
  patienceMs?: number
}

interface Open<Question, Answer> {
  questions: Question[]
  answers: Promise<readonly Answer[]>
}

/**
 * Joins questions into one: those that are asked in one go, and those that come while the ones
 * before are being answered, or until they are worth a journey of their own. The more is asked, the
 * less of it costs one; and where answers are slow, a crowd does not become a crowd of journeys.
 * Each is asked after it came: nobody is answered from a read that began before.
 */
export class Gathering<Question, Answer> {
  readonly #askAll: (questions: readonly Question[]) => Promise<readonly Answer[]>
  readonly #journeys: number
  readonly #patienceMs: number
  /**
   * Questions are asked for everybody: not in the asynchronous context of whoever happens to be the
   * first.
   */
  readonly #nobody = new AsyncResource('Gathering')
  #open: Open<Question, Answer> | null = null
  #running = 0
  /** Has the questions that wait be asked. */
  #goOn = () => {}

  /** @param askAll answers in the order of the questions */
  constructor(
    askAll: (questions: readonly Question[]) => Promise<readonly Answer[]>,
    { journeys = 1, patienceMs = PATIENCE_MS }: GatheringOptions = {}
  ) {
    this.#askAll = askAll
    this.#journeys = journeys
    this.#patienceMs = patienceMs
  }

  /**
   * Asks together with whoever else asks now. A fault is told to all of them.
   *
   * @param read what the caller makes of the answer: a promise less than to wait for it and go on
   */
  ask<T>(question: Question, read: (answer: Answer) => T | Promise<T>): Promise<T> {
    this.#open ??= this.#begin()
    const { questions, answers } = this.#open
    const index = questions.push(question) - 1
    if (this.#isDue(questions)) this.#goOn()
    return answers.then((all) => {
      if (index >= all.length) throw new Error('fewer answers than questions')
      return read(all[index] as Answer)
    })
  }

  #begin(): Open<Question, Answer> {
    const questions: Question[] = []
    return { questions, answers: this.#nobody.runInAsyncScope(() => this.#run(questions)) }
  }

  async #run(questions: readonly Question[]): Promise<readonly Answer[]> {
    await Promise.resolve() // until whoever asks in this moment has done so
    if (!this.#isDue(questions)) await this.#untilDue()
    this.#open = null
    this.#running++
    try {
      return await this.#askAll(questions)
    } finally {
      this.#running--
      this.#goOn()
    }
  }

  #isDue(questions: readonly Question[]): boolean {
    return this.#running === 0 || (questions.length >= ENOUGH && this.#running < this.#journeys)
  }

  /** Until enough have come, the next answer comes, or patience ends. */
  #untilDue(): Promise<void> {
    return new Promise((resolve) => {
      const patience = setTimeout(
        resolve,
        Math.min(this.#patienceMs * 2 ** this.#running, LONGEST_PATIENCE_MS)
      )
      this.#goOn = () => {
        clearTimeout(patience)
        resolve()
      }
    })
  }
}
