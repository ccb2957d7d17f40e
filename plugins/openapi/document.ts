/** The parts of an OpenAPI 3.1 document that this server writes or completes. */
export interface ApiDocument {
  servers?: { url: string }[]
  tags?: { name: string; description: string }[]
  paths?: Paths
  components?: Components
}

export interface Components {
  schemas?: Record<string, unknown>
  headers?: Record<string, unknown>
  parameters?: Record<string, unknown>
}

/** Operations by path and method. */
export type Paths = Record<string, Record<string, Operation>>

export interface Operation {
  operationId?: string
  summary?: string
  description?: string
  tags?: string[]
  security?: Record<string, string[]>[]
  parameters?: Parameter[]
  requestBody?: { required?: boolean; content: Record<string, Media> }
  responses: Record<string, ApiResponse>
}

export type Parameter =
  | { $ref: string }
  | {
      name: string
      in: string
      required?: boolean
      schema?: Schema
      example?: unknown
      description?: string
    }

export interface ApiResponse {
  description: string
  headers?: Record<string, { $ref: string }>
  content?: Record<string, Media>
  links?: Record<string, Link>
}

export interface Media {
  schema?: Schema
  example?: unknown
}

/** JSON Schema, as far as it is used here. */
export interface Schema {
  $ref?: string
  type?: string | string[]
  required?: string[]
  properties?: Record<string, Schema>
  [keyword: string]: unknown
}

/** Where a value of an answer is used in the next request (OpenAPI 3.1, Link Object). */
export interface Link {
  operationId: string
  description: string
  parameters?: Record<string, string>
  requestBody?: Record<string, unknown>
}

/** An operation with its place in a document. */
export interface Located {
  /** Without the prefix of the server. */
  path: string
  method: string
  operation: Operation
}

export const schemaRef = (name: string): { $ref: string } => ({
  $ref: `#/components/schemas/${name}`
})
export const headerRef = (name: string): { $ref: string } => ({
  $ref: `#/components/headers/${name}`
})
export const parameterRef = (name: string): { $ref: string } => ({
  $ref: `#/components/parameters/${name}`
})
